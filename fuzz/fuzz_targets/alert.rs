//! Whatever a policy's status holds as alerts, and whatever a workload is called: what is sent to Alertmanager is JSON
//! that it takes, under our own name, about whom the record is about, and ends no earlier than it begins.

#![no_main]

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{LazyLock, mpsc},
};

use futures::{FutureExt, future::BoxFuture};
use grpc_hygiene::{
    api::AlertRecord,
    io::{
        config::{Config, Endpoint},
        notify::{Alerts, Courier, Failure},
    },
};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let text = "{prometheus: {url: 'http://p'}, alertmanagers: [{url: 'http://a'}], cluster: east}";
    Config::from_yaml(text).expect("a configuration")
});
// Nobody waits in earnest: time goes on when there is nothing else to do.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime"));

/// Keeps what it is given to carry.
struct Keeper(mpsc::Sender<Vec<Vec<u8>>>);

impl Courier for Keeper {
    fn addresses<'a>(&'a self, _: &'a Endpoint) -> BoxFuture<'a, Result<BTreeSet<SocketAddr>, String>> {
        async { Ok(BTreeSet::from([SocketAddr::from(([10, 0, 0, 1], 9093))])) }.boxed()
    }

    fn deliver<'a>(
        &'a self,
        _: &'a Endpoint,
        _: SocketAddr,
        mail: &'a [Vec<u8>],
    ) -> BoxFuture<'a, Result<(), Failure>> {
        self.0.send(mail.to_vec()).expect("somebody looks at it");
        async { Ok(()) }.boxed()
    }
}

fuzz_target!(|text: &str| {
    let Ok(records) = serde_json::from_str::<Vec<AlertRecord>>(text) else { return };
    let names: BTreeSet<String> = records.iter().map(|it| it.namespace.clone()).collect();
    let (sender, sent) = mpsc::channel();
    let alerts = Alerts::sent_by(Keeper(sender), &CONFIG);
    RUNTIME.block_on(async {
        let news = alerts.set("shop/clients", records);
        tokio::select! {
            _ = alerts.delivered(news) => {}
            () = alerts.keep_sending() => {}
        }
    });
    for batch in sent.try_iter().flatten() {
        let Ok(Value::Array(batch)) = serde_json::from_slice(&batch) else { panic!("what is sent is a list") };
        batch.iter().for_each(|it| is_ours(it, &names));
    }
});

fn is_ours(alert: &Value, namespaces: &BTreeSet<String>) {
    let labels = alert["labels"].as_object().expect("labels");
    let label = |name: &str| labels.get(name).and_then(Value::as_str).unwrap_or_default();
    assert_eq!(label("cluster"), "east");
    match label("alertname") {
        "GrpcClientHygiene" => {
            assert_eq!(label("policy"), "shop/clients");
            assert!(namespaces.contains(label("namespace")), "{alert}");
        }
        "GrpcClientHygieneMany" => assert!(!labels.contains_key("namespace"), "{alert}"),
        other => panic!("{other:?} is not ours"),
    }
    let time = |name: &str| -> Timestamp { alert[name].as_str().unwrap_or_default().parse().expect(name) };
    assert!(time("startsAt") <= time("endsAt"), "{alert}");
}
