//! The generated files are those that the code generates: `make generate` writes them again.

use std::{fs, path::Path};

use grpc_hygiene::api::{custom_resources, yaml};

#[test]
fn the_definitions_in_crds_and_in_the_chart_are_up_to_date() {
    for crd in custom_resources() {
        let wanted = yaml(&crd).expect("YAML");
        for folder in ["crds", "charts/grpc-hygiene/files/crds"] {
            let path =
                Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(format!("{}.yaml", crd.spec.names.plural));
            let found = fs::read_to_string(&path).unwrap_or_default();
            assert!(found == wanted, "{} is stale: run `make generate`", path.display());
        }
    }
}

#[test]
fn there_is_a_runbook_for_every_diagnosis() {
    for diagnosis in grpc_hygiene::decide::Diagnosis::ALL {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/runbooks/{diagnosis}.md"));
        assert!(path.exists(), "{} is missing", path.display());
    }
}
