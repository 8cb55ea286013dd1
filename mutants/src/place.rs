// SPDX-License-Identifier: Apache-2.0

//! Where mutants go in a source file, and what is written there.

use crate::list::{Genre, Mutant, Point};
use std::collections::HashMap;
use std::ops::Range;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// A change of a source file. Ranges are bytes of it.
#[derive(Debug)]
pub(crate) enum Edit {
    /// Text between two bytes.
    Insert { at: usize, id: usize, text: String },
    /// An expression that a mutant replaces. Others may be within the range.
    Replace { range: Range<usize>, id: usize, text: String },
}

/// What has become of the mutants of a file.
#[derive(Debug, Default)]
pub(crate) struct Placed {
    pub(crate) edits: Vec<Edit>,
    /// Mutants that are not tried, and why.
    pub(crate) left_out: Vec<(usize, &'static str)>,
}

/// Places the mutants of a file.
pub(crate) fn place(source: &str, mutants: &[&Mutant]) -> Result<Placed, String> {
    let file = syn::parse_file(source).map_err(|error| error.to_string())?;
    let lines = Lines::new(source);
    let mut wanted: HashMap<_, Vec<&Mutant>> = HashMap::new();
    for mutant in mutants {
        wanted.entry((mutant.genre, lines.offset(mutant.span.start))).or_default().push(mutant);
    }
    let mut placer = Placer { source, wanted, fixed: 0, placed: Placed::default() };
    placer.visit_file(&file);
    let Placer { wanted, mut placed, .. } = placer;
    placed.left_out.extend(wanted.into_values().flatten().map(|mutant| (mutant.id, "no place found")));
    Ok(placed)
}

/// The lines of a text.
struct Lines<'a> {
    source: &'a str,
    starts: Vec<usize>,
}

impl Lines<'_> {
    fn new(source: &str) -> Lines<'_> {
        let starts = std::iter::once(0).chain(source.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Lines { source, starts }
    }

    fn offset(&self, point: Point) -> usize {
        let start = self.starts.get(point.line - 1).copied().unwrap_or(self.source.len());
        let line = &self.source[start..];
        start + line.char_indices().nth(point.column - 1).map_or(line.len(), |(at, _)| at)
    }
}

struct Placer<'a> {
    source: &'a str,
    wanted: HashMap<(Genre, usize), Vec<&'a Mutant>>,
    /// Depth of what the compiler evaluates.
    fixed: usize,
    placed: Placed,
}

fn range(node: &impl Spanned) -> Range<usize> {
    node.span().byte_range()
}

impl<'a> Placer<'a> {
    /// The mutants of a kind that begin somewhere, if they can be placed.
    fn take(&mut self, genre: Genre, at: usize) -> Vec<&'a Mutant> {
        let mutants = self.wanted.remove(&(genre, at)).unwrap_or_default();
        if self.fixed == 0 {
            return mutants;
        }
        self.leave_out(&mutants, "constant");
        Vec::new()
    }

    fn leave_out(&mut self, mutants: &[&Mutant], why: &'static str) {
        self.placed.left_out.extend(mutants.iter().map(|mutant| (mutant.id, why)));
    }

    fn text(&self, range: Range<usize>) -> &'a str {
        &self.source[range]
    }

    fn replace(&mut self, range: Range<usize>, mutant: &Mutant, text: String) {
        self.placed.edits.push(Edit::Replace { range, id: mutant.id, text });
    }

    fn insert(&mut self, at: usize, mutant: &Mutant, text: String) {
        self.placed.edits.push(Edit::Insert { at, id: mutant.id, text });
    }

    /// A function: its own mutants, and what `visit` finds in it. In a constant one none can be switched on.
    fn function(
        &mut self,
        signature: &syn::Signature,
        attributes: &[syn::Attribute],
        block: &syn::Block,
        visit: impl FnOnce(&mut Self),
    ) {
        let fixed = usize::from(signature.constness.is_some());
        self.fixed += fixed;
        self.whole_body(attributes, block);
        visit(self);
        self.fixed -= fixed;
    }

    /// The mutants of a whole body, which begin where its first statement does.
    fn whole_body(&mut self, attributes: &[syn::Attribute], block: &syn::Block) {
        let Some(first) = block.stmts.first() else { return };
        let inner = attributes.iter().filter(|attribute| matches!(attribute.style, syn::AttrStyle::Inner(_)));
        let open = block.brace_token.span.open().byte_range().end;
        let at = inner.map(|attribute| range(attribute).end).max().unwrap_or(open);
        for mutant in self.take(Genre::FnValue, range(first).start) {
            let condition = condition(mutant.id);
            self.insert(at, mutant, format!(" if {condition} {{ return {}; }}", mutant.replacement));
        }
    }

    fn within_constant(&mut self, visit: impl FnOnce(&mut Self)) {
        self.fixed += 1;
        visit(self);
        self.fixed -= 1;
    }
}

/// What asks whether a mutant is switched on.
fn condition(id: usize) -> String {
    format!("crate::mutant::is({id})")
}

/// Whether a condition has a `let`, which no expression around it may have.
fn has_let(expression: &syn::Expr) -> bool {
    match expression {
        syn::Expr::Let(_) => true,
        syn::Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        _ => false,
    }
}

impl<'ast> Visit<'ast> for Placer<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig, &item.attrs, &item.block, |placer| visit::visit_item_fn(placer, item));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig, &item.attrs, &item.block, |placer| visit::visit_impl_item_fn(placer, item));
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        let visit = |placer: &mut Self| visit::visit_trait_item_fn(placer, item);
        match &item.default {
            Some(block) => self.function(&item.sig, &item.attrs, block, visit),
            None => visit(self),
        }
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.within_constant(|placer| visit::visit_item_const(placer, item));
    }

    fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
        self.within_constant(|placer| visit::visit_impl_item_const(placer, item));
    }

    fn visit_trait_item_const(&mut self, item: &'ast syn::TraitItemConst) {
        self.within_constant(|placer| visit::visit_trait_item_const(placer, item));
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.within_constant(|placer| visit::visit_item_static(placer, item));
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        self.within_constant(|placer| visit::visit_variant(placer, variant));
    }

    fn visit_type(&mut self, item: &'ast syn::Type) {
        self.within_constant(|placer| visit::visit_type(placer, item));
    }

    fn visit_generic_argument(&mut self, item: &'ast syn::GenericArgument) {
        self.within_constant(|placer| visit::visit_generic_argument(placer, item));
    }

    fn visit_expr_const(&mut self, item: &'ast syn::ExprConst) {
        self.within_constant(|placer| visit::visit_expr_const(placer, item));
    }

    fn visit_expr_repeat(&mut self, item: &'ast syn::ExprRepeat) {
        self.visit_expr(&item.expr);
        self.within_constant(|placer| placer.visit_expr(&item.len));
    }

    fn visit_pat(&mut self, pattern: &'ast syn::Pat) {
        self.within_constant(|placer| visit::visit_pat(placer, pattern));
    }

    fn visit_expr_binary(&mut self, binary: &'ast syn::ExprBinary) {
        let operator = range(&binary.op);
        let mutants = self.take(Genre::BinaryOperator, operator.start);
        if has_let(&binary.left) || has_let(&binary.right) {
            self.leave_out(&mutants, "let chain");
        } else {
            let (whole, left, right) = (range(binary), range(&*binary.left), range(&*binary.right));
            let start = range(&*binary.left).start;
            for mutant in mutants {
                let between = (self.text(left.end..operator.start), self.text(operator.end..right.start));
                let text = format!(
                    "({}){}{}{}({})",
                    self.text(left.clone()),
                    between.0,
                    mutant.replacement,
                    between.1,
                    self.text(right.clone())
                );
                self.replace(start..whole.end, mutant, text);
            }
        }
        visit::visit_expr_binary(self, binary);
    }

    fn visit_expr_unary(&mut self, unary: &'ast syn::ExprUnary) {
        let operator = range(&unary.op);
        for mutant in self.take(Genre::UnaryOperator, operator.start) {
            let text = format!("{}({})", mutant.replacement, self.text(range(&*unary.expr)));
            self.replace(operator.start..range(&*unary.expr).end, mutant, text);
        }
        visit::visit_expr_unary(self, unary);
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        let removed = self.take(Genre::MatchArm, range(arm).start);
        if let Some((_, guard)) = &arm.guard {
            let guards = self.take(Genre::MatchArmGuard, range(&**guard).start);
            let mutants = guards.into_iter().map(|mutant| (mutant, mutant.replacement.clone()));
            for (mutant, text) in
                mutants.chain(removed.into_iter().map(|mutant| (mutant, "false".to_owned())))
            {
                self.replace(range(&**guard), mutant, text);
            }
        } else {
            for mutant in removed {
                self.insert(range(&arm.pat).end, mutant, format!(" if !{}", condition(mutant.id)));
            }
        }
        visit::visit_arm(self, arm);
    }

    fn visit_expr_struct(&mut self, expression: &'ast syn::ExprStruct) {
        let whole = range(expression);
        let fields: Vec<_> = expression.fields.pairs().collect();
        for (index, pair) in fields.iter().enumerate() {
            let field = range(*pair.value());
            // With the comma, as far as the next field or the base begins.
            let next = fields.get(index + 1).map(|pair| range(*pair.value()).start);
            let end = next.or(expression.dot2_token.map(|dots| range(&dots).start)).unwrap_or(field.end);
            for mutant in self.take(Genre::StructField, field.start) {
                let text = format!("{}{}", self.text(whole.start..field.start), self.text(end..whole.end));
                self.replace(whole.clone(), mutant, text);
            }
        }
        visit::visit_expr_struct(self, expression);
    }
}
