//! The sending: a loop for each receiver, a round for each time, an attempt for each address. Nobody waits for anybody
//! else, and a round ends at the latest when the next one is due.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Mutex,
    time::Duration,
};

use futures::future::{join_all, pending};
use jiff::Timestamp;
use tokio::time::sleep;
use tracing::{info, warn};

use super::{
    Alerts,
    alertmanager::{Failure, Mail},
    lock,
};
use crate::io::http::Endpoint;

/// How often everything is sent again: an alert must not end because nobody repeated it.
const RESEND: Duration = Duration::from_secs(60);
/// The first and the longest pause before another try.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

impl Alerts {
    /// Sends, for ever. It is part of the work that the lease guards: dropped, nothing is sent any more.
    pub async fn keep_sending(&self) {
        join_all((0..self.0.endpoints.len()).map(|receiver| self.serve(receiver))).await;
        pending::<()>().await;
    }

    /// Serves one receiver; no other waits for it.
    async fn serve(&self, receiver: usize) {
        let mut news = self.0.news.subscribe();
        loop {
            let version = *news.borrow_and_update();
            let round = async {
                self.round(receiver, version).await;
                pending::<()>().await;
            };
            // A round that still tries when the next one is due is given up: the next one says all that it would. The round
            // is looked at first, so that what it has in hand is noted before it may be given up, and so that the order
            // does not depend on chance.
            tokio::select! {
                biased;
                () = round => {}
                () = sleep(RESEND) => {}
                _ = news.changed() => {}
            }
        }
    }

    /// Sends the whole board once to every address of a receiver, each for itself, with as many tries as it takes.
    async fn round(&self, receiver: usize, version: u64) {
        let now = Timestamp::now();
        let mail = self.0.letterhead.mail(&lock(&self.0.board).posters(now), now);
        let round = Round { alerts: self, receiver, version, results: Mutex::default() };
        if mail.is_empty() {
            // Nothing to say is well received.
            round.tell(true, true, None);
            return;
        }
        let mut pause = BACKOFF.0;
        let addresses = loop {
            match self.0.courier.addresses(round.endpoint()).await {
                Ok(addresses) => break addresses,
                Err(problem) => round.unresolved(&problem),
            }
            sleep(pause).await;
            pause = (pause * 2).min(BACKOFF.1);
        };
        round.to_all(addresses, &mail).await;
    }
}

/// One sending of the board to one receiver.
struct Round<'a> {
    alerts: &'a Alerts,
    receiver: usize,
    version: u64,
    results: Mutex<BTreeMap<SocketAddr, Option<Result<(), String>>>>,
}

impl Round<'_> {
    fn endpoint(&self) -> &Endpoint {
        &self.alerts.0.endpoints[self.receiver]
    }

    async fn to_all(&self, addresses: BTreeSet<SocketAddr>, mail: &Mail) {
        *lock(&self.results) = addresses.iter().map(|it| (*it, None)).collect();
        join_all(addresses.into_iter().map(|it| self.deliver(it, mail))).await;
    }

    /// Tries one address until it takes the mail, or refuses it for good.
    async fn deliver(&self, address: SocketAddr, mail: &Mail) {
        let mut pause = BACKOFF.0;
        loop {
            let result = self.alerts.0.courier.deliver(self.endpoint(), address, mail.batches()).await;
            self.note(address, mail, &result);
            let Err(Failure { retry: true, after, .. }) = result else { return };
            // Whoever asks for more than the longest pause would lose the alerts, which end unless they are repeated.
            sleep(after.unwrap_or_default().clamp(pause, BACKOFF.1)).await;
            pause = (pause * 2).min(BACKOFF.1);
        }
    }

    fn note(&self, address: SocketAddr, mail: &Mail, result: &Result<(), Failure>) {
        let mut counts = lock(&self.alerts.0.counts);
        match result {
            Ok(()) => counts.accepted += mail.alerts(),
            Err(_) => counts.failed += mail.alerts(),
        }
        drop(counts);
        let receiver = self.endpoint().address();
        let mut results = lock(&self.results);
        results.insert(address, Some(result.clone().map_err(|it| format!("{receiver} ({address}): {}", it.problem))));
        let all_tried = results.values().all(Option::is_some);
        let accepted = results.values().any(|it| matches!(it, Some(Ok(()))));
        let failure = results.values().find_map(|it| it.clone()?.err());
        drop(results);
        self.tell(all_tried, accepted, failure);
    }

    fn unresolved(&self, problem: &str) {
        self.tell(true, false, Some(format!("{}: {problem}", self.endpoint().address())));
    }

    /// Only what is new is logged: a receiver that is down for a day fails thousands of times.
    fn tell(&self, all_tried: bool, accepted: bool, failure: Option<String>) {
        self.alerts.report(self.receiver, |it| {
            if accepted {
                it.accepted = Some(self.version);
            }
            if !all_tried {
                return;
            }
            match &failure {
                Some(problem) if it.failure != failure => warn!(receiver = it.receiver, problem, "alerts not sent"),
                None if it.failure.is_some() => info!(receiver = it.receiver, "alerts are taken again"),
                _ => {}
            }
            it.accepted = accepted.then_some(self.version);
            it.failure = failure;
            it.tried = self.version;
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::io::{
        config::Config,
        notify::{
            Counts, News,
            board::Posters,
            tests::{at, firing},
        },
    };

    /// Takes one request and returns its `Host` header.
    async fn take(listener: TcpListener) -> String {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
        while !text.ends_with(b"}]") {
            let n = stream.read(&mut buffer).await.expect("a request");
            text.extend_from_slice(&buffer[..n]);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.expect("an answer");
        let text = String::from_utf8_lossy(&text).to_lowercase();
        text.lines().find_map(|it| it.strip_prefix("host: ")).expect("a host").to_owned()
    }

    #[tokio::test]
    async fn every_address_behind_a_name_gets_the_alerts_under_that_name() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let one = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = one.local_addr().expect("an address").port();
        let other = TcpListener::bind(("127.0.0.2", port)).await.expect("the same port of another address");
        let yaml = format!("{{prometheus: {{url: 'http://p'}}, alertmanagers: [{{url: 'http://am.example:{port}'}}]}}");
        let alerts = Alerts::new(&Config::from_yaml(&yaml).expect("a configuration")).expect("a client");
        let posters = Posters { alerts: vec![("shop/clients".to_owned(), firing("orders"))], ..Posters::default() };
        let mail = alerts.0.letterhead.mail(&posters, at(0));
        let addresses = [&one, &other].map(|it| it.local_addr().expect("an address"));
        let round = Round { alerts: &alerts, receiver: 0, version: 1, results: Mutex::default() };
        let (hosts, ()) = tokio::join!(
            async { tokio::join!(take(one), take(other)) },
            round.to_all(BTreeSet::from(addresses), &mail),
        );
        let name = format!("am.example:{port}");
        assert_eq!(hosts, (name.clone(), name));
        assert_eq!(alerts.take_counts(), Counts { accepted: 2, failed: 0 });
        assert_eq!(alerts.delivered(News(1)).await, Ok(()));
    }
}
