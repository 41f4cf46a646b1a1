//! The API server is down for two minutes: the operator lives, goes on within a minute, and does not make up for what it
//! missed.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use jiff::Timestamp;

use super::super::{
    audit::{Write, writes_of_the_operator},
    shop::POLICY,
    world::{QUIET, SOON, World, cluster_dir, repository},
};
use super::{MEASURED, Scene, pages, restarts};

const DOWN: Duration = Duration::from_secs(120);
const RECOVERED: Duration = Duration::from_secs(60);
/// Writes in ten seconds: two a second.
const BURST: usize = 20;
const SPAN: i64 = 10;

/// Kills the API server that the cluster's own command started.
fn kill() {
    let record = std::fs::read_to_string(cluster_dir().join("pids/kube-apiserver")).expect("the cluster's own record");
    let pid = record.split_whitespace().next().expect("a pid");
    assert!(Command::new("kill").args(["-KILL", pid]).status().expect("kill").success(), "{record}");
}

/// Starts what is missing of the cluster, and waits for the API server. The command goes on until the node is ready, which
/// takes a minute more. What it starts outlives it, so its words go nowhere rather than into a pipe.
async fn start(world: &World) -> Child {
    let mut cluster = Command::new(repository().join("tests/cluster/cluster"));
    cluster.arg("up").env("CLUSTER_DIR", cluster_dir());
    cluster.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = cluster.spawn().expect("the cluster's command");
    let answers = || async { world.client.apiserver_version().await.map_err(|it| it.to_string()) };
    world.eventually("the API server", SOON, "it is back", answers).await;
    child
}

/// Waits until nobody has answered for so long.
async fn unanswered_for(world: &World, time: Duration) {
    let since = std::time::Instant::now();
    let silent = || async {
        assert!(world.client.apiserver_version().await.is_err(), "the API server is back by itself");
        if since.elapsed() >= time { Ok(()) } else { Err(format!("only for {:?}", since.elapsed())) }
    };
    world.eventually("the API server", time + SOON, "it was down", silent).await;
}

/// The most writes within so many seconds.
fn busiest(writes: &[Write]) -> usize {
    let times: Vec<Timestamp> = writes.iter().map(|it| it.at.parse().expect("a time")).collect();
    let within =
        |from: &Timestamp| times.iter().filter(|it| (0..SPAN).contains(&it.duration_since(*from).as_secs())).count();
    times.iter().map(within).max().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the real cluster: make test"]
async fn an_api_server_that_comes_back_after_two_minutes_meets_no_burst_and_is_worked_with_within_one() {
    let measured = MEASURED.read().await;
    let undisturbed = QUIET.read().await;
    let scene = Scene::leaking("e2e-chaos-api", 3).await;
    drop(undisturbed);
    let alone = QUIET.write().await;
    let shop = &scene.shop;
    // From now on a restart is due whenever the cooldown of a minute is over: two of them in the two minutes.
    scene.make_due();
    let before = scene.more_evicted_than(0).await.len();
    kill();
    unanswered_for(&shop.world, DOWN).await;
    let mut starting = start(&shop.world).await;
    let back = Timestamp::now();

    let evaluated = || async {
        let last = pages::last_evaluation(&shop.world, &format!("{}/{POLICY}", shop.namespace)).await?;
        if last > back.as_second() as f64 { Ok(()) } else { Err(format!("the last evaluation is at {last}")) }
    };
    shop.world.eventually(&shop.namespace, RECOVERED, "it is evaluated again", evaluated).await;
    assert!(
        starting.wait().is_ok_and(|it| it.success()),
        "the cluster is up again: tests/cluster/cluster up says more"
    );
    println!("{}: containers started again: {:?}", shop.namespace, restarts(&shop.world).await);
    scene.more_evicted_than(before).await;
    let since = back.to_string();
    let all = writes_of_the_operator();
    let writes: Vec<Write> = all.into_iter().filter(|it| it.at >= since && it.resource != "leases").collect();
    let busiest = busiest(&writes);
    println!("{}: {} writes since it is back, at most {busiest} in {SPAN} s", shop.namespace, writes.len());
    assert!(busiest <= BURST, "{busiest} writes in {SPAN} s: {writes:?}");
    // One restart a minute, as before: none of those that were missed is made up for.
    scene.assert_accounted_for().await;
    shop.remove().await;
    drop((alone, measured));
}
