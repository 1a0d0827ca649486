//! Sites: what can be deleted from the sources.
//!
//! Interface: [`all`] returns the sites of runtime/ and net/, file by file, from the beginning of a file to its end.
//! Invariant: a [`Key`] names one site, and survives what happens around it: a move of its function into another file,
//! and edits of other statements.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{
    Attribute, BinOp, Expr, ImplItemFn, Item, ItemFn, ItemImpl, ItemMod, Pat, Stmt, TraitItemFn,
};

/// How many characters of the deleted text a key shows.
const SHOWN: usize = 100;

/// What a deletion makes of the text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// A statement that ends with a semicolon, `return` and its like too.
    Statement,
    /// The last expression of a block, an arm or a closure, if its value is `()`.
    Tail,
    /// `let _guard = ...;`: the value is never made.
    Guard,
    /// An operand of `&&`: taken for true.
    And,
    /// An operand of `||`: taken for false.
    Or,
    /// The condition of an `if` or of an arm: taken for true.
    Condition,
}

impl Kind {
    pub const ALL: [(Kind, &str); 6] = [
        (Kind::Statement, "statement"),
        (Kind::Tail, "tail"),
        (Kind::Guard, "guard"),
        (Kind::And, "operand of &&"),
        (Kind::Or, "operand of ||"),
        (Kind::Condition, "condition"),
    ];

    pub fn name(self) -> &'static str {
        let found = Kind::ALL.iter().find(|(kind, _)| *kind == self);
        found.expect("ALL names each").1
    }

    /// What stands before and behind the text, so that `switch` decides at run time.
    pub fn switched(self, switch: u32) -> (String, String) {
        let kept = format!("crate::deletion::kept({switch})");
        match self {
            Kind::Statement | Kind::Tail => (format!("if {kept} {{ "), " }".into()),
            Kind::Guard => (format!("if {kept} {{ Some("), ") } else { None }".into()),
            Kind::And | Kind::Condition => (format!("(!{kept} || ("), "))".into()),
            Kind::Or => (format!("({kept} && ("), "))".into()),
        }
    }
}

/// The name of a site.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Key {
    /// `Type::function`, `Type as Trait::function` or `function`.
    pub function: String,
    pub kind: Kind,
    /// On one line, and cut.
    pub text: String,
    /// Of those alike so far, from 1.
    pub ordinal: usize,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Key {
            function,
            kind,
            text,
            ordinal,
        } = self;
        write!(f, "{function}: {} {ordinal}: {text}", kind.name())
    }
}

#[derive(Clone, Debug)]
pub struct Site {
    pub file: String,
    /// Bytes of the file.
    pub range: Range<usize>,
    /// Bytes of the function around it.
    pub function: Range<usize>,
    pub key: Key,
}

/// The sites of the library.
pub fn all(root: &Path) -> Vec<Site> {
    let mut files = Vec::new();
    for folder in ["runtime", "net"] {
        collect(root, folder, &mut files);
    }
    files.sort();
    let mut alike = HashMap::new();
    let mut sites = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(root.join(&file)).expect("it was listed");
        let mut found = of_file(&file, &text);
        // Those alike are counted in the order of the text.
        found.sort_by_key(|site| (site.range.start, usize::MAX - site.range.end));
        for mut site in found {
            let count = alike.entry(site.key.clone()).or_insert(0);
            *count += 1;
            site.key.ordinal = *count;
            sites.push(site);
        }
    }
    sites
}

fn collect(root: &Path, folder: &str, files: &mut Vec<String>) {
    for entry in std::fs::read_dir(root.join(folder)).expect("the folders are there") {
        let entry = entry.expect("a folder can be read");
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            collect(root, &path, files);
        } else if path.ends_with(".rs") {
            files.push(path);
        }
    }
}

fn of_file(file: &str, text: &str) -> Vec<Site> {
    let tree = syn::parse_file(text).unwrap_or_else(|error| panic!("{file}: {error}"));
    let mut finder = Finder {
        file,
        text,
        sites: Vec::new(),
        owner: None,
        function: None,
    };
    finder.visit_file(&tree);
    finder.sites
}

/// Walks a file's tree.
struct Finder<'a> {
    file: &'a str,
    text: &'a str,
    sites: Vec<Site>,
    /// The type of the `impl`, and its trait.
    owner: Option<String>,
    /// The innermost function and its bytes; none inside a `const fn`.
    function: Option<(String, Range<usize>)>,
}

impl Finder<'_> {
    fn site(&mut self, kind: Kind, span: Span) {
        let Some((function, around)) = self.function.clone() else {
            return;
        };
        let range = span.byte_range();
        let words: Vec<&str> = self.text[range.clone()].split_whitespace().collect();
        let mut text = words.join(" ");
        if let Some((at, _)) = text.char_indices().nth(SHOWN) {
            text.truncate(at);
            text += "…";
        }
        let key = Key {
            function,
            kind,
            text,
            ordinal: 0,
        };
        self.sites.push(Site {
            file: self.file.into(),
            range,
            function: around,
            key,
        });
    }

    fn function(&mut self, name: String, constant: bool, span: Span, walk: impl FnOnce(&mut Self)) {
        let name = match &self.owner {
            Some(owner) => format!("{owner}::{name}"),
            None => name,
        };
        let function = (!constant).then(|| (name, span.byte_range()));
        let outer = std::mem::replace(&mut self.function, function);
        walk(self);
        self.function = outer;
    }

    /// What an arm or a closure does, if it may be for nothing but its effect.
    fn tail(&mut self, body: &Expr) {
        if has_effect(body) {
            self.site(Kind::Tail, body.span());
        }
    }

    fn condition(&mut self, condition: &Expr) {
        let plain = match condition {
            Expr::Let(_) => false,
            Expr::Binary(binary) => !matches!(binary.op, BinOp::And(_) | BinOp::Or(_)),
            _ => true,
        };
        if plain {
            self.site(Kind::Condition, condition.span());
        }
    }
}

/// For loom or for unit tests.
fn is_left_out(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else {
            return false;
        };
        let text = list.tokens.to_string();
        list.path.is_ident("cfg")
            && (text == "test" || text.starts_with("reveille_loom") || text.starts_with("all ("))
    })
}

/// Not a value, a path or an operation on such: something that is called, left or set.
fn has_effect(expression: &Expr) -> bool {
    match expression {
        Expr::Call(_)
        | Expr::MethodCall(_)
        | Expr::Macro(_)
        | Expr::Assign(_)
        | Expr::Await(_)
        | Expr::Unsafe(_)
        | Expr::Return(_)
        | Expr::Break(_)
        | Expr::Continue(_)
        | Expr::Try(_) => true,
        Expr::Binary(binary) => is_assignment(&binary.op),
        _ => false,
    }
}

fn is_assignment(operator: &BinOp) -> bool {
    use BinOp as Op;
    matches!(
        operator,
        Op::AddAssign(_)
            | Op::SubAssign(_)
            | Op::MulAssign(_)
            | Op::DivAssign(_)
            | Op::RemAssign(_)
            | Op::BitXorAssign(_)
            | Op::BitAndAssign(_)
            | Op::BitOrAssign(_)
            | Op::ShlAssign(_)
            | Op::ShrAssign(_)
    )
}

/// These hold other statements, which are sites themselves.
fn holds_others(expression: &Expr) -> bool {
    matches!(
        expression,
        Expr::If(_)
            | Expr::Match(_)
            | Expr::ForLoop(_)
            | Expr::While(_)
            | Expr::Loop(_)
            | Expr::Block(_)
    )
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Mod(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !is_left_out(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        visit::visit_item_mod(self, module);
    }

    fn visit_item_impl(&mut self, block: &'ast ItemImpl) {
        let last = |path: &syn::Path| {
            path.segments
                .last()
                .map(|segment| segment.ident.to_string())
        };
        let name = match &*block.self_ty {
            syn::Type::Path(path) => last(&path.path).unwrap_or_default(),
            syn::Type::Reference(reference) => match &*reference.elem {
                syn::Type::Path(path) => format!("&{}", last(&path.path).unwrap_or_default()),
                _ => "&".into(),
            },
            _ => "?".into(),
        };
        let owner = match &block.trait_ {
            Some((_, path, _)) => format!("{name} as {}", last(path).unwrap_or_default()),
            None => name,
        };
        let outer = self.owner.replace(owner);
        visit::visit_item_impl(self, block);
        self.owner = outer;
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        let outer = self.owner.take();
        let walk = |finder: &mut Self| visit::visit_item_fn(finder, item);
        self.function(
            item.sig.ident.to_string(),
            item.sig.constness.is_some(),
            item.span(),
            walk,
        );
        self.owner = outer;
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        if is_left_out(&item.attrs) {
            return;
        }
        let walk = |finder: &mut Self| visit::visit_impl_item_fn(finder, item);
        self.function(
            item.sig.ident.to_string(),
            item.sig.constness.is_some(),
            item.span(),
            walk,
        );
    }

    fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
        let walk = |finder: &mut Self| visit::visit_trait_item_fn(finder, item);
        self.function(
            item.sig.ident.to_string(),
            item.sig.constness.is_some(),
            item.span(),
            walk,
        );
    }

    fn visit_stmt(&mut self, statement: &'ast Stmt) {
        match statement {
            Stmt::Expr(expression, Some(_)) if !holds_others(expression) => {
                self.site(Kind::Statement, statement.span());
            }
            Stmt::Expr(expression, None) if !holds_others(expression) => self.tail(expression),
            Stmt::Macro(statement) => {
                let name = statement
                    .mac
                    .path
                    .segments
                    .last()
                    .map(|segment| segment.ident.to_string());
                if !name.is_some_and(|name| name.starts_with("debug_assert")) {
                    self.site(Kind::Statement, statement.span());
                }
            }
            Stmt::Local(local) => {
                if let Some(init) = &local.init {
                    match &local.pat {
                        Pat::Wild(_) => self.site(Kind::Statement, statement.span()),
                        Pat::Ident(name) if name.ident.to_string().starts_with('_') => {
                            self.site(Kind::Guard, init.expr.span());
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        visit::visit_stmt(self, statement);
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        if let Some((_, condition)) = &arm.guard {
            self.condition(condition);
        }
        self.tail(&arm.body);
        visit::visit_arm(self, arm);
    }

    fn visit_expr_closure(&mut self, closure: &'ast syn::ExprClosure) {
        self.tail(&closure.body);
        visit::visit_expr_closure(self, closure);
    }

    fn visit_expr_if(&mut self, expression: &'ast syn::ExprIf) {
        self.condition(&expression.cond);
        visit::visit_expr_if(self, expression);
    }

    fn visit_expr_binary(&mut self, binary: &'ast syn::ExprBinary) {
        let kind = match binary.op {
            BinOp::And(_) => Some(Kind::And),
            BinOp::Or(_) => Some(Kind::Or),
            _ => None,
        };
        if let Some(kind) = kind {
            // `a && b && c` is `(a && b) && c`: its operands are three.
            for operand in [&binary.left, &binary.right] {
                let longer = match (&**operand, kind) {
                    (Expr::Binary(inner), Kind::And) => matches!(inner.op, BinOp::And(_)),
                    (Expr::Binary(inner), _) => matches!(inner.op, BinOp::Or(_)),
                    _ => false,
                };
                if !longer {
                    self.site(kind, operand.span());
                }
            }
        }
        visit::visit_expr_binary(self, binary);
    }
}
