//! Whatever an administrator writes as a query, and whatever a namespace and its label are called: each query that is asked has the
//! policy's namespaces in every selector, and nothing that hides time. Judged here by a walk of its own, not by the
//! builder's check.

#![no_main]

use std::time::Duration;

use grpc_hygiene::signals::{CustomSource, Labels, Scope, Signal, bucket_query, range_query};
use libfuzzer_sys::fuzz_target;
use promql_parser::{
    label::MatchOp,
    parser::{Expr, VectorSelector, parse},
};

// The first line names the namespaces, the second the label that holds them, the rest is the query.
fuzz_target!(|text: &str| {
    let mut lines = text.splitn(3, '\n');
    let (namespaces, label, query) = (lines.next(), lines.next(), lines.next());
    let wanted: Vec<String> = namespaces.unwrap_or_default().split(' ').map(str::to_owned).collect();
    let (Ok(scope), Some(query)) = (Scope::new(wanted.clone()), query) else { return };
    let labels = Labels { namespace: label.unwrap_or_default().to_owned(), ..Labels::default() };
    let custom = CustomSource {
        name: "fuzzed".to_owned(),
        signal: Signal::OpenConnections,
        query: query.to_owned(),
        labels: labels.clone(),
        namespaces: vec!["*".to_owned()],
    };
    let Ok(source) = custom.parse() else { return };
    let window = Duration::from_secs(3_600);
    let asked = range_query(&source, &scope, window).into_iter();
    let asked = asked.chain(bucket_query(&source, &scope, window * 24, window));
    for query in asked.flatten() {
        let expr = parse(&query).unwrap_or_else(|why| panic!("{query:?} was asked and is not PromQL: {why}"));
        let mut selectors = Vec::new();
        collect(&expr, &mut selectors);
        assert!(!selectors.is_empty(), "{query:?} selects nothing");
        for it in selectors {
            assert!(it.offset.is_none() && it.at.is_none(), "{query:?} hides how old its samples are");
            assert!(it.matchers.or_matchers.is_empty(), "{query:?} has a way around the namespaces");
            assert!(
                it.matchers.matchers.iter().any(|it| pins(it, &labels.namespace, &wanted)),
                "{query:?} is not pinned"
            );
        }
    }
});

/// Whether this matcher lets through nothing but these namespaces.
fn pins(matcher: &promql_parser::label::Matcher, label: &str, wanted: &[String]) -> bool {
    let among = |name: &str| wanted.iter().any(|it| it == name);
    matcher.name == label
        && match matcher.op {
            MatchOp::Equal => among(&matcher.value),
            // Alternatives of plain names: nothing that a regular expression reads otherwise.
            MatchOp::Re(_) => matcher.value.split('|').all(among),
            MatchOp::NotEqual | MatchOp::NotRe(_) => false,
        }
}

fn collect<'a>(expr: &'a Expr, found: &mut Vec<&'a VectorSelector>) {
    match expr {
        Expr::VectorSelector(it) => found.push(it),
        Expr::MatrixSelector(it) => found.push(&it.vs),
        Expr::Subquery(it) => collect(&it.expr, found),
        Expr::Paren(it) => collect(&it.expr, found),
        Expr::Unary(it) => collect(&it.expr, found),
        Expr::Binary(it) => [&it.lhs, &it.rhs].into_iter().for_each(|it| collect(it, found)),
        Expr::Aggregate(it) => {
            [Some(&it.expr), it.param.as_ref()].into_iter().flatten().for_each(|it| collect(it, found))
        }
        Expr::Call(it) => it.args.args.iter().for_each(|it| collect(it, found)),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) => {}
        Expr::Extension(it) => panic!("{it:?} is none of PromQL's"),
    }
}
