// SPDX-License-Identifier: Apache-2.0

/* Nothing: compiled into the libraries to have something that is as new as the Rust library, see libraries.cmake. */
typedef int couchstore_anchor;
