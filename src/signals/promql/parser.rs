//! The parser, without its panics. promql-parser 0.11 panics on a plain number of seconds after `offset` or inside `[ ]` that
//! no [`Duration`] can hold: such a span is refused first. Nothing else about a text is judged here.

use std::time::Duration;

use lrpar::{Lexeme as _, Lexer as _, NonStreamingLexer as _};
use promql_parser::{
    parser::{
        Expr, lexer, parse,
        token::{T_ADD, T_COLON, T_LEFT_BRACKET, T_NUMBER, T_OFFSET, T_SUB, TokenId},
    },
    util::parse_str_radix,
};

/// The expression that a text is.
///
/// # Errors
/// The text is not PromQL, or a span of time in it is too long, negative or no number.
pub fn parse_promql(text: &str) -> Result<Expr, String> {
    check_spans(text).and_then(|()| parse(text))
}

fn check_spans(query: &str) -> Result<(), String> {
    let lexer = lexer(query)?;
    let mut before: Option<TokenId> = None;
    for token in lexer.iter().flatten() {
        let due = matches!(before, Some(T_OFFSET | T_LEFT_BRACKET | T_COLON));
        if due && token.tok_id() == T_NUMBER {
            let text = lexer.span_str(token.span());
            let seconds = parse_str_radix(text)?;
            Duration::try_from_secs_f64(seconds).map_err(|why| format!("{text} seconds: {why}"))?;
        }
        // A sign stands between `offset` and its span.
        let sign = matches!(token.tok_id(), T_ADD | T_SUB) && before == Some(T_OFFSET);
        before = if sign { before } else { Some(token.tok_id()) };
    }
    Ok(())
}
