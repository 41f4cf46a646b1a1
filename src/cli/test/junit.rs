//! The report that CI systems read: `JUnit`'s XML. It only translates what was run.

use std::path::Path;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::{Ran, RanFile};

/// Writes the report.
///
/// # Errors
/// The file cannot be written.
pub fn write(all: &[RanFile], path: &Path) -> anyhow::Result<()> {
    Ok(std::fs::write(path, report(all).to_string()?)?)
}

/// One suite per file; a file that cannot be used is a case in error.
fn report(all: &[RanFile]) -> Report {
    let mut report = Report::unnamed();
    for RanFile { path, tests } in all {
        let name = path.display().to_string();
        let mut suite = TestSuite::new(&*name);
        match tests {
            Ok(tests) => suite.add_test_cases(tests.iter().map(|it| case(it, &name))),
            Err(error) => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
                status.set_message(format!("{error:#}"));
                suite.add_test_case(TestCase::new("the file", status))
            }
        };
        report.add_test_suite(suite);
    }
    report
}

fn case(ran: &Ran, file: &str) -> TestCase {
    let status = if ran.failures.is_empty() {
        TestCaseStatus::success()
    } else {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        status.set_message(ran.failures[0].lines().next().unwrap_or_default());
        status.set_description(ran.failures.join("\n"));
        status
    };
    let mut case = TestCase::new(&*ran.name, status);
    case.set_classname(file);
    case
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn a_report_counts_failures_and_errors_and_escapes_what_they_say() {
        let ran = |name: &str, failures: &[&str]| Ran {
            name: name.to_owned(),
            failures: failures.iter().map(|&it| it.to_owned()).collect(),
        };
        let all = [
            RanFile {
                path: PathBuf::from("a_test.yaml"),
                tests: Ok(vec![ran("good", &[]), ran("bad", &["expected <alert>\nhappened nothing"])]),
            },
            RanFile { path: PathBuf::from("b_test.yaml"), tests: Err(anyhow::anyhow!("is not YAML")) },
        ];
        let xml = report(&all).to_string().expect("XML");
        for part in [
            r#"tests="3" skipped="0" failures="1" errors="1""#,
            r#"<testcase name="good" classname="a_test.yaml""#,
            r#"<failure message="expected &lt;alert&gt;">expected &lt;alert&gt;"#,
            r#"<error message="is not YAML"/>"#,
        ] {
            assert!(xml.contains(part), "{part} is not in {xml}");
        }
    }
}
