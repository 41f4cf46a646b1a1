//! A secret that is used is seen by whom it is for and by nobody else: not in what the program prints, not in its most
//! talkative log, not in its configuration as an error shows it, whatever the server says. The same is looked for on
//! the real cluster (`e2e_uninstall`), in everything that an installation leaves behind.

use std::process::{Command, Output};

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use super::fake::{Asked, EMPTY, Fake, file, json, serve};

const CANARY: &str = "canary-5f2c91b7e0";
/// `me:` and the canary in base64.
const IN_BASE64: &str = "bWU6Y2FuYXJ5LTVmMmM5MWI3ZTA=";

const POLICY: &str = "apiVersion: grpc-hygiene.io/v1alpha1\nkind: GrpcClientPolicy\nmetadata: {name: clients, namespace: shop}\nspec: {allPods: true}\n";

/// A server that repeats what it was sent, in one of the ways in which its words come to be shown.
async fn parrot(words: fn(&str) -> Response) -> Fake {
    serve(move |asked: Asked| {
        let sent = asked.headers.get(header::AUTHORIZATION).and_then(|it| it.to_str().ok()).unwrap_or_default();
        std::future::ready(words(sent))
    })
    .await
}

fn check(url: &str, credentials: &str) -> Output {
    let secret = file("canary", CANARY);
    let credentials = credentials.replace("FILE", &secret.display().to_string());
    let config = file("canary.yaml", &format!("prometheus: {{url: '{url}', {credentials}}}\n"));
    let policy = file("canary-policy.yaml", POLICY);
    Command::new(env!("CARGO_BIN_EXE_grpc-hygiene"))
        .args(["--log-level", "trace", "check", "--offline", "-f"])
        .arg(policy)
        .arg("--config")
        .arg(config)
        .output()
        .expect("the program starts")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_appears_in_no_output_though_the_server_repeats_it() {
    let ways: [fn(&str) -> Response; 4] = [
        |sent| {
            (StatusCode::UNAUTHORIZED, json(format!(r#"{{"status":"error","error":"who is {sent}?"}}"#)))
                .into_response()
        },
        |sent| json(format!(r#"{{"status":"error","errorType":"bad_data","error":"who is {sent}?"}}"#)),
        |sent| json(EMPTY.replace("matrix", "vector").replace("\"data\"", &format!(r#""warnings":["{sent}"],"data""#))),
        |sent| (StatusCode::FOUND, [(header::LOCATION, format!("http://127.0.0.1:1/{sent}"))]).into_response(),
    ];

    for (way, words) in ways.into_iter().enumerate() {
        for credentials in ["bearerTokenFile: FILE", "basicAuth: {username: me, passwordFile: FILE}"] {
            let parrot = parrot(words).await;
            let output = check(&parrot.url, credentials);
            let sent = parrot.asked();
            let sent = sent.first().and_then(|it| it.headers.get(header::AUTHORIZATION)?.to_str().ok());
            let sent = sent.expect("the secret reached the server");
            assert!(sent.ends_with(CANARY) || sent.ends_with(IN_BASE64), "{sent}");
            let printed = [output.stdout, output.stderr].concat();
            let printed = String::from_utf8_lossy(&printed);
            assert!(!printed.is_empty(), "way {way} said nothing at all");
            assert!(!printed.contains(CANARY) && !printed.contains(IN_BASE64), "way {way}, {credentials}:\n{printed}");
        }
    }
}
