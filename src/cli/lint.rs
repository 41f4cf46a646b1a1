//! `grpc-hygiene lint`: whether policies can be read, and whether the keepalive that they declare works. It needs neither
//! a cluster nor a metrics backend, and judges no pod.

use std::{path::Path, process::ExitCode};

use serde_json::{Value, json};

use super::{
    policies::{documents, from_document},
    remarks,
};
use crate::{
    args::{LintArgs, Output},
    decide::{
        Policy,
        keepalive::{Remark, Severity},
    },
};

/// Nothing is wrong.
const CLEAN: u8 = 0;
/// Something is.
const WRONG: u8 = 1;

/// One policy and what is wrong with it.
struct Linted {
    file: String,
    /// `namespace/name`, `name`, or the number of the document where it has none.
    policy: String,
    /// The remarks, or why it cannot be read.
    result: Result<Vec<Remark>, String>,
}

impl Linted {
    fn count(&self, severity: Severity) -> usize {
        match &self.result {
            Ok(remarks) => remarks.iter().filter(|it| it.rule.severity() == severity).count(),
            Err(_) => usize::from(severity == Severity::Error),
        }
    }
}

/// Reads policies and prints what is wrong with them.
///
/// # Errors
/// A file cannot be read, is not YAML, or holds no policy.
pub fn lint(args: &LintArgs) -> anyhow::Result<ExitCode> {
    let LintArgs { files, strict, output } = args;
    let mut all = Vec::new();
    for path in files {
        all.extend(linted(path)?);
    }
    let count = |severity| all.iter().map(|it| it.count(severity)).sum::<usize>();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    match output {
        Output::Table => {
            let of = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
            print!("{}", all.iter().map(text).collect::<String>());
            let policies = if all.len() == 1 { "1 policy".to_owned() } else { format!("{} policies", all.len()) };
            println!("{policies}, {}, {}", of(errors, "error"), of(warnings, "warning"));
        }
        Output::Json => {
            let policies: Vec<Value> = all.iter().map(object).collect();
            let report = json!({"policies": policies, "errors": errors, "warnings": warnings});
            println!("{}", serde_json::to_string_pretty(&report)?);
        }
    }
    Ok(ExitCode::from(if errors > 0 || *strict && warnings > 0 { WRONG } else { CLEAN }))
}

fn linted(path: &Path) -> anyhow::Result<Vec<Linted>> {
    let read = |(index, document): (usize, Value)| {
        let policy = named(&document).unwrap_or_else(|| format!("document {}", index + 1));
        Linted {
            file: path.display().to_string(),
            policy,
            result: remarks_of(document).map_err(|it| format!("{it:#}")),
        }
    };
    Ok(documents(path)?.into_iter().enumerate().map(read).collect())
}

fn remarks_of(document: Value) -> anyhow::Result<Vec<Remark>> {
    let known = from_document(document)?;
    Ok(Policy::parse(&known.rules)?.keepalive.remarks())
}

fn named(document: &Value) -> Option<String> {
    let text = |field: &str| document.pointer(field).and_then(Value::as_str).filter(|it| !it.is_empty());
    let name = text("/metadata/name")?;
    Some(text("/metadata/namespace").map_or_else(|| name.to_owned(), |it| format!("{it}/{name}")))
}

fn text(linted: &Linted) -> String {
    let Linted { file, policy, result } = linted;
    let said = match result {
        Err(why) => format!("  error    InvalidPolicy: {why}\n"),
        Ok(remarks) if remarks.is_empty() => "  ok\n".to_owned(),
        Ok(remarks) => remarks::text(remarks),
    };
    format!("{file}: {policy}\n{said}")
}

fn object(linted: &Linted) -> Value {
    let Linted { file, policy, result } = linted;
    let remarks: Vec<Value> = match result {
        Err(why) => vec![json!({"severity": "error", "rule": "InvalidPolicy", "message": why})],
        Ok(remarks) => remarks.iter().map(remarks::object).collect(),
    };
    json!({"file": file, "policy": policy, "remarks": remarks})
}
