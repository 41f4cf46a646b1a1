//! PromQL built from parts. Nothing is spliced: selectors are syntax trees whose values the parser's own printer
//! quotes, and every finished query is parsed again and must pin the namespaces in every selector.
//!
//! Queries read raw samples over a range (`metric{…}[24h]`). An instant vector would hide how old a sample is, the
//! gaps between samples, and the samples of dead incarnations.

mod clients;
mod parser;

use std::{collections::BTreeSet, time::Duration};

use promql_parser::{
    label::{MatchOp as ParsedOp, Matcher, Matchers},
    parser::{
        AggregateExpr, Expr, MatrixSelector, SubqueryExpr, VectorSelector,
        token::{T_EQL_REGEX, TokenId},
    },
    util::{
        ExprVisitor,
        visitor::{ExprVisitorMut, walk_expr_mut},
        walk_expr,
    },
};

pub use clients::{client_queries, server_queries};
pub use parser::parse_promql;

use super::{MatchOp, Naming, Query, Source, naming::POD_PATH};

/// The longest query text, bytes. VictoriaMetrics refuses 16 KiB and more (`-search.maxQueryLen`).
const MAX_QUERY_BYTES: usize = 12 * 1024;
/// The resolution at which an expression (not a selector) of a custom source is sampled.
const CUSTOM_STEP: Duration = Duration::from_secs(15);

/// The namespaces that a query may read. Never empty: empty would mean all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(BTreeSet<String>);

/// Why a query is not asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQuery {
    /// A scope without namespaces would read everybody's.
    #[error("no namespace to look at")]
    NoNamespace,
    /// A namespace that Kubernetes would not accept.
    #[error("{0:?} is not the name of a namespace")]
    NotANamespace(String),
    /// The text is not PromQL.
    #[error("{query:?} is not PromQL: {reason}")]
    NotPromql {
        /// The text.
        query: String,
        /// What the parser says.
        reason: String,
    },
    /// A part of PromQL that hides time or escapes the namespaces.
    #[error("{query:?} uses {what}, which is not allowed here: {reason}")]
    NotAllowed {
        /// The text.
        query: String,
        /// The part.
        what: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// A selector without the namespaces. It is a bug if a user ever sees this.
    #[error("{0:?} has a selector that is not pinned to the policy's namespaces")]
    NotPinned(String),
}

impl Scope {
    /// A scope of these namespaces.
    ///
    /// # Errors
    /// There is none, or one is not a DNS label (RFC 1123), so that no name can smuggle in a pattern.
    pub fn new(namespaces: impl IntoIterator<Item = String>) -> Result<Self, InvalidQuery> {
        let namespaces: BTreeSet<String> = namespaces.into_iter().collect();
        match namespaces.iter().find(|it| !is_dns_label(it)) {
            Some(bad) => Err(InvalidQuery::NotANamespace(bad.clone())),
            None if namespaces.is_empty() => Err(InvalidQuery::NoNamespace),
            None => Ok(Self(namespaces)),
        }
    }

    /// The namespaces, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether this namespace may be read.
    #[must_use]
    pub fn contains(&self, namespace: &str) -> bool {
        self.0.contains(namespace)
    }

    fn matcher(&self, naming: &Naming) -> Matcher {
        let names: Vec<&str> = self.iter().collect();
        // DNS labels hold no character that a regular expression would read.
        match (naming, names.as_slice()) {
            (Naming::Labels(labels), [one]) => Matcher::new(ParsedOp::Equal, &labels.namespace, one),
            (Naming::Labels(labels), many) => regex_matcher(&labels.namespace, many),
            (Naming::Path(label), many) => {
                regex_matcher(label, &[format!("{POD_PATH}({})/.+", many.join("|")).as_str()])
            }
        }
    }

    fn halves(&self) -> Option<[Self; 2]> {
        let names: Vec<String> = self.0.iter().cloned().collect();
        (names.len() > 1).then(|| {
            let (left, right) = names.split_at(names.len() / 2);
            [Self(left.iter().cloned().collect()), Self(right.iter().cloned().collect())]
        })
    }
}

pub(super) fn is_dns_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&text.len()) && text.chars().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// The queries that read a source over `window` in these namespaces: one, or more when the text would be too long.
///
/// # Errors
/// A custom expression is not PromQL or uses what is not allowed.
pub fn range_query(source: &Source, scope: &Scope, window: Duration) -> Result<Vec<String>, InvalidQuery> {
    let text = match &source.query {
        Query::Selector { metrics, matchers } => {
            let (name, mut all) = named(metrics);
            all.extend(matchers.iter().map(|(label, op, value)| Matcher::new(parsed(*op), label, value)));
            all.push(scope.matcher(&source.naming));
            let vs = VectorSelector::new(name, Matchers::new(all));
            Expr::MatrixSelector(MatrixSelector { vs, range: window }).to_string()
        }
        Query::Custom(text) => pinned(text, &source.naming, scope, window)?.to_string(),
    };
    match scope.halves() {
        Some([left, right]) if text.len() > MAX_QUERY_BYTES => {
            Ok([range_query(source, &left, window)?, range_query(source, &right, window)?].concat())
        }
        _ => verify(&text, &source.naming, scope).map(|()| vec![text]),
    }
}

/// The queries that read a source per bucket: the floor of a gauge, the last value of a counter, one point per `width`
/// over `span`, at multiples of the width. Ask them at a multiple of the width.
///
/// # Errors
/// As [`range_query`].
pub fn bucket_query(
    source: &Source,
    scope: &Scope,
    span: Duration,
    width: Duration,
) -> Result<Vec<String>, InvalidQuery> {
    let function = if source.signal.is_counter() { "last_over_time" } else { "min_over_time" };
    let (span, width_text) = (span.as_secs(), width.as_secs());
    let bucketed = |samples: String| {
        let text = format!("{function}({samples})[{span}s:{width_text}s]");
        verify(&text, &source.naming, scope).map(|()| text)
    };
    range_query(source, scope, width)?.into_iter().map(bucketed).collect()
}

/// Checks a finished query: it parses, and every selector in it is pinned to exactly these namespaces.
///
/// # Errors
/// It does not, or is not.
pub fn verify(query: &str, naming: &Naming, scope: &Scope) -> Result<(), InvalidQuery> {
    let expr = parsed_query(query)?;
    let mut check = PinCheck { wanted: scope.matcher(naming), query, found: 0 };
    walk_expr(&mut check, &expr)?;
    if check.found == 0 { Err(InvalidQuery::NotPinned(query.to_owned())) } else { Ok(()) }
}

/// Checks an administrator's expression when the operator starts, before any policy uses it.
///
/// # Errors
/// It is not PromQL, selects nothing, or uses what is not allowed.
pub(super) fn check_custom(text: &str, naming: &Naming) -> Result<(), InvalidQuery> {
    let scope = Scope(BTreeSet::from(["any".to_owned()]));
    let expr = pinned(text, naming, &scope, Duration::from_secs(300))?;
    verify(&expr.to_string(), naming, &scope)
}

fn parsed_query(query: &str) -> Result<Expr, InvalidQuery> {
    parse_promql(query).map_err(|reason| InvalidQuery::NotPromql { query: query.to_owned(), reason })
}

fn pinned(text: &str, naming: &Naming, scope: &Scope, window: Duration) -> Result<Expr, InvalidQuery> {
    let mut expr = parsed_query(text)?;
    walk_expr_mut(&mut Pin { matcher: scope.matcher(naming), query: text }, &mut expr)?;
    match expr {
        Expr::VectorSelector(vs) => Ok(Expr::MatrixSelector(MatrixSelector { vs, range: window })),
        Expr::MatrixSelector(_) | Expr::Subquery(_) => {
            Err(not_allowed(text, "a range at the outside", "write an instant expression; the operator adds the range"))
        }
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) => Err(not_allowed(text, "a constant", "it selects no series")),
        other => Ok(Expr::Subquery(SubqueryExpr {
            expr: Box::new(Expr::Paren(promql_parser::parser::ParenExpr { expr: Box::new(other) })),
            offset: None,
            at: None,
            range: window,
            step: Some(CUSTOM_STEP),
        })),
    }
}

fn named(metrics: &[&str]) -> (Option<String>, Vec<Matcher>) {
    match metrics {
        [one] => (Some((*one).to_owned()), Vec::new()),
        many => (None, vec![regex_matcher("__name__", many)]),
    }
}

/// A matcher for any of these patterns: plain words, and what this file makes of them.
fn regex_matcher(label: &str, values: &[&str]) -> Matcher {
    let op: TokenId = T_EQL_REGEX;
    let pattern = values.join("|");
    Matcher::new_matcher(op, label.to_owned(), pattern.clone())
        // Unreachable for plain words; an equality that matches nothing is the harmless answer.
        .unwrap_or_else(|_| Matcher::new(ParsedOp::Equal, label, &pattern))
}

const fn parsed(op: MatchOp) -> ParsedOp {
    match op {
        MatchOp::Equal => ParsedOp::Equal,
        MatchOp::NotEqual => ParsedOp::NotEqual,
    }
}

fn not_allowed(query: &str, what: &'static str, reason: &'static str) -> InvalidQuery {
    InvalidQuery::NotAllowed { query: query.to_owned(), what, reason }
}

fn selector(expr: &Expr) -> Option<&VectorSelector> {
    match expr {
        Expr::VectorSelector(vs) => Some(vs),
        Expr::MatrixSelector(ms) => Some(&ms.vs),
        _ => None,
    }
}

/// Refuses what hides time, and what the parser's walk does not descend into.
fn check_allowed(expr: &Expr, query: &str) -> Result<(), InvalidQuery> {
    if let Expr::Aggregate(AggregateExpr { param: Some(param), .. }) = expr
        && !matches!(**param, Expr::NumberLiteral(_) | Expr::StringLiteral(_))
    {
        return Err(not_allowed(query, "a computed aggregation parameter", "selectors inside it cannot be pinned"));
    }
    let Some(vs) = selector(expr) else { return Ok(()) };
    if vs.offset.is_some() || vs.at.is_some() {
        return Err(not_allowed(query, "offset or @", "it would hide how old the samples are"));
    }
    if !vs.matchers.or_matchers.is_empty() {
        return Err(not_allowed(query, "or between matchers", "it escapes the namespace matcher"));
    }
    Ok(())
}

struct Pin<'a> {
    matcher: Matcher,
    query: &'a str,
}

impl ExprVisitorMut for Pin<'_> {
    type Error = InvalidQuery;

    fn pre_visit(&mut self, expr: &mut Expr) -> Result<bool, InvalidQuery> {
        check_allowed(expr, self.query)?;
        let vs = match expr {
            Expr::VectorSelector(vs) => vs,
            Expr::MatrixSelector(ms) => &mut ms.vs,
            _ => return Ok(true),
        };
        vs.matchers.matchers.push(self.matcher.clone());
        Ok(true)
    }
}

struct PinCheck<'a> {
    wanted: Matcher,
    query: &'a str,
    found: usize,
}

impl ExprVisitor for PinCheck<'_> {
    type Error = InvalidQuery;

    fn pre_visit(&mut self, expr: &Expr) -> Result<bool, InvalidQuery> {
        check_allowed(expr, self.query)?;
        if let Some(vs) = selector(expr) {
            if !vs.matchers.matchers.contains(&self.wanted) {
                return Err(InvalidQuery::NotPinned(self.query.to_owned()));
            }
            self.found += 1;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
