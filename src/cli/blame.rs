//! `grpc-hygiene blame FILE|POD`: which lines of code hold leaked channels, by a heap profile from a file or from a
//! running pod. It needs a cluster only for a pod, and metrics never.

mod table;

use std::{
    fs,
    io::{Read, stdin},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context, bail};
use kube::{Client, Config};
use serde::Serialize;

use crate::{
    args::{BlameArgs, Output},
    decide::blame::{Blame, Census, Kind, Profile, blame},
    io::pprof::{FetchError, Page, fetch},
};

const ACCUSED: u8 = 1;
const NO_PROFILE: u8 = 3;

/// What was found out, as it is printed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// The file or the pod.
    of: String,
    #[serde(flatten)]
    blame: Blame,
    /// What the goroutine profile says, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    census: Option<Census>,
}

/// What is needed of a program.
struct Profiles {
    heap: Profile,
    goroutines: Option<Profile>,
}

/// Names the call sites, and whether there are any.
///
/// # Errors
/// There is no such file or pod, what is there is no heap profile, or the API server cannot be asked.
pub async fn blame_command(args: &BlameArgs) -> anyhow::Result<ExitCode> {
    let profiles = match from_pod(args) {
        None => from_files(args)?,
        Some((namespace, pod)) => match from_the_cluster(args, namespace, pod).await? {
            Ok(profiles) => profiles,
            Err(why) => {
                println!("{}", no_profile(&why));
                return Ok(ExitCode::from(NO_PROFILE));
            }
        },
    };
    let census = profiles.goroutines.as_ref().map(Census::of).transpose().context("the goroutine profile")?;
    let before = match &args.diff {
        Some(of) => Some(earlier(args, of).await?),
        None => None,
    };
    let found = blame(&profiles.heap, census.map(|it| it.channels), before.as_ref()).context(args.of.clone())?;
    let report = Report { of: args.of.clone(), blame: found, census };
    match args.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&report)?),
        Output::Table => print!("{}", table::text(&report, args.stacks)),
    }
    Ok(if report.blame.accused.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(ACCUSED) })
}

/// The profile to compare with: an earlier one of the same program, or that of a younger pod.
async fn earlier(args: &BlameArgs, of: &str) -> anyhow::Result<Profile> {
    let args = BlameArgs { of: of.to_owned(), save: None, ..args.clone() };
    match from_pod(&args) {
        None => read(Path::new(of)),
        Some((namespace, pod)) => match from_the_cluster(&args, namespace, pod).await? {
            Ok(profiles) => Ok(profiles.heap),
            Err(why) => bail!("--diff: {why}"),
        },
    }
}

/// The pod that is meant, if it is none of the files.
fn from_pod(args: &BlameArgs) -> Option<(Option<&str>, &str)> {
    let of = args.of.as_str();
    if of == "-" || Path::new(of).exists() || of.contains('.') {
        return None;
    }
    let (namespace, pod) =
        of.strip_prefix("pod/").unwrap_or(of).split_once('/').map_or((None, of), |it| (Some(it.0), it.1));
    Some((namespace.or(args.namespace.as_deref()), pod.strip_prefix("pod/").unwrap_or(pod)))
}

fn from_files(args: &BlameArgs) -> anyhow::Result<Profiles> {
    let goroutines = args.goroutines.as_deref().map(read).transpose()?;
    Ok(Profiles { heap: read(Path::new(&args.of))?, goroutines })
}

fn read(path: &Path) -> anyhow::Result<Profile> {
    let name = path.display().to_string();
    let bytes = if name == "-" {
        let mut bytes = Vec::new();
        stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fs::read(path)
    };
    Profile::parse(&bytes.with_context(|| name.clone())?).context(name)
}

async fn from_the_cluster(
    args: &BlameArgs,
    namespace: Option<&str>,
    pod: &str,
) -> anyhow::Result<Result<Profiles, FetchError>> {
    let mut config = Config::infer().await.with_context(|| {
        format!("there is no file {:?}, and no Kubernetes cluster is configured to find such a pod in", args.of)
    })?;
    let namespace = namespace.map_or_else(|| config.default_namespace.clone(), str::to_owned);
    // A pod that does not answer will not at the tenth time.
    config.default_retry = false;
    let client = Client::try_from(config)?;
    let page = Page { namespace: &namespace, pod, port: &args.port, path: &args.path };
    let heap = match fetch(&client, &page, Kind::Heap).await {
        Ok(bytes) => bytes,
        Err(why @ FetchError::NoProfile { .. }) => return Ok(Err(why)),
        Err(why) => bail!(why),
    };
    // The heap came from the same place; goroutines only make numbers better.
    let goroutines = fetch(&client, &page, Kind::Goroutines).await.ok();
    keep(args, &heap)?;
    let goroutines = goroutines.as_deref().and_then(|it| Profile::parse(it).ok());
    Ok(Ok(Profiles { heap: Profile::parse(&heap).with_context(|| format!("the heap profile of {pod}"))?, goroutines }))
}

/// The proof outlives the pod when it is asked for.
fn keep(args: &BlameArgs, heap: &[u8]) -> anyhow::Result<()> {
    let Some(path) = &args.save else { return Ok(()) };
    fs::write(path, heap).with_context(|| path.display().to_string())
}

fn no_profile(why: &FetchError) -> String {
    format!(
        "no profile: {why}

A Go program serves profiles with two lines:
  import _ \"net/http/pprof\"
  go func() {{ log.Print(http.ListenAndServe(\":6060\", nil)) }}()
and they are reached on that port: --port 6060, and --path if it is not /debug/pprof. What listens on 127.0.0.1 only is
reached by kubectl port-forward: save it with curl, and give the file instead of the pod.

A JVM says who leaks by itself: grpc-java logs \"Previous channel … was garbage collected without being shut down\"
with the stack that made it. C++ and Python share one connection among identical channels; a heap profiler of the
language, such as jemalloc's or memray, shows who makes them."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(of: &str, namespace: Option<&str>) -> Option<(Option<String>, String)> {
        let args = BlameArgs { of: of.into(), namespace: namespace.map(str::to_owned), ..BlameArgs::default() };
        from_pod(&args).map(|(namespace, pod)| (namespace.map(str::to_owned), pod.to_owned()))
    }

    #[test]
    fn files_are_told_from_pods() {
        let pod = |namespace: Option<&str>| Some((namespace.map(str::to_owned), "orders-1".to_owned()));
        assert_eq!(meant("orders-1", None), pod(None));
        assert_eq!(meant("pod/orders-1", Some("shop")), pod(Some("shop")));
        assert_eq!(meant("shop/orders-1", Some("other")), pod(Some("shop")));
        assert_eq!(meant("heap.pb.gz", None), None);
        assert_eq!(meant("Cargo.toml", None), None);
        assert_eq!(meant("-", None), None);
    }
}
