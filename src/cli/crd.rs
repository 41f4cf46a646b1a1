//! `grpc-hygiene crd`: prints the CustomResourceDefinitions, or writes one file for each.

use std::process::ExitCode;

use anyhow::Context;

use crate::{
    api::{custom_resources, yaml},
    args::CrdArgs,
};

/// Prints or writes the definitions.
///
/// # Errors
/// A file cannot be written.
pub fn crd(args: &CrdArgs) -> anyhow::Result<ExitCode> {
    let CrdArgs { output_dir } = args;
    for crd in custom_resources() {
        let text = yaml(&crd)?;
        match output_dir {
            None => print!("---\n{text}"),
            Some(folder) => {
                let path = folder.join(format!("{}.yaml", crd.spec.names.plural));
                std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
