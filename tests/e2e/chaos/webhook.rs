//! An admission webhook that this process serves on loopback, where the API server of the test cluster reaches it: one that
//! never answers, or one that sees each request, and allows it.

use std::{future::pending, sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, pki_types::PrivateKeyDer},
};

use super::super::world::World;

/// Longer than any API server waits.
const HANGS: Duration = Duration::from_secs(60);

/// A webhook of one rule in one namespace.
pub struct Webhook {
    api: Api<ValidatingWebhookConfiguration>,
    name: String,
    serving: JoinHandle<()>,
}

impl Webhook {
    /// The API server waits for its answer in vain, and would then let the request pass.
    pub async fn that_hangs(world: &World, name: &str, namespace: &str, rule: &Value) -> Self {
        Self::serving(world, name, namespace, rule, |_| false).await
    }

    /// It sees each request before it is stored, and allows it.
    pub async fn that_sees(
        world: &World,
        name: &str,
        namespace: &str,
        rule: &Value,
        see: impl Fn(&Value) + Send + Sync + 'static,
    ) -> Self {
        let and_allow = move |review: &Value| {
            see(review);
            true
        };
        Self::serving(world, name, namespace, rule, and_allow).await
    }

    /// Answers those requests of which `answers` says so.
    async fn serving(
        world: &World,
        name: &str,
        namespace: &str,
        rule: &Value,
        answers: impl Fn(&Value) -> bool + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).expect("a key");
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![cert.der().clone()], key);
        let acceptor = TlsAcceptor::from(Arc::new(config.expect("a configuration")));
        let answers = Arc::new(answers);
        let serving = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (acceptor, answers) = (acceptor.clone(), Arc::clone(&answers));
                tokio::spawn(async move {
                    let Ok(connection) = acceptor.accept(connection).await else { return };
                    let (mut reader, mut writer) = tokio::io::split(connection);
                    while let Some(review) = review(&mut reader).await {
                        let answer = allowed(&review);
                        let is_answered = answers(&review) && writer.write_all(answer.as_bytes()).await.is_ok();
                        if !is_answered || writer.flush().await.is_err() {
                            // Whoever asked gives up before.
                            tokio::time::timeout(HANGS, pending::<()>()).await.unwrap_or_default();
                            return;
                        }
                    }
                });
            }
        });
        Self::configured(world, name, namespace, rule, port, &cert.pem(), serving).await
    }

    async fn configured(
        world: &World,
        name: &str,
        namespace: &str,
        rule: &Value,
        port: u16,
        authority: &str,
        serving: JoinHandle<()>,
    ) -> Self {
        let name = format!("grpc-hygiene-e2e-{name}");
        let bundle = BASE64_STANDARD.encode(authority);
        let configuration: ValidatingWebhookConfiguration = serde_json::from_value(json!({
            "metadata": {"name": name},
            "webhooks": [{
                "name": "chaos.grpc-hygiene.io", "rules": [rule], "sideEffects": "None", "failurePolicy": "Ignore",
                "admissionReviewVersions": ["v1"], "timeoutSeconds": 30,
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "clientConfig": {"url": format!("https://127.0.0.1:{port}/"), "caBundle": bundle},
            }],
        }))
        .expect("a configuration");
        let api: Api<ValidatingWebhookConfiguration> = Api::all(world.client.clone());
        let _ = api.delete(&name, &DeleteParams::default()).await;
        api.create(&PostParams::default(), &configuration).await.expect("a webhook");
        Self { api, name, serving }
    }

    /// Takes it away.
    pub async fn remove(self) {
        self.api.delete(&self.name, &DeleteParams::default()).await.expect("removed");
        self.serving.abort();
    }
}

/// The next request's body. `None`: there is none, or it is not understood.
async fn review(reader: &mut (impl AsyncRead + Unpin)) -> Option<Value> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(reader.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?.to_ascii_lowercase();
    let length = head.lines().find_map(|it| it.strip_prefix("content-length:"))?.trim().parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await.ok()?;
    serde_json::from_slice(&body).ok()
}

fn allowed(review: &Value) -> String {
    let body = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "response": {"uid": review["request"]["uid"], "allowed": true}})
    .to_string();
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
}
