// SPDX-License-Identifier: Apache-2.0

//! Builder methods of option structs: one for each public field.

#![forbid(unsafe_code)]

/// Makes methods that take the options, set one field, and give them back. `[const]` if they may be called in constants.
macro_rules! builders {
    (@one [$($constness:tt)?] $options:ident $field:ident $type:ty) => {
        impl $options {
            #[doc = concat!("Sets [`", stringify!($field), "`](field@Self::", stringify!($field), ").")]
            #[must_use]
            pub $($constness)? fn $field(mut self, $field: $type) -> $options {
                self.$field = $field;
                self
            }
        }
    };
    ($constness:tt $options:ident: $($field:ident: $type:ty,)*) => {
        $(crate::builders::builders! { @one $constness $options $field $type })*
    };
}

pub(crate) use builders;
