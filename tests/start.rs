//! The program as it starts: what it waits for, and what it does not. The API server is a socket of this process that
//! closes connections, or answers.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    process::{Command, Output},
    thread,
};

use serde_json::json;

const NOT_FOUND: &str =
    r#"{"kind":"Status","apiVersion":"v1","status":"Failure","message":"not here","reason":"NotFound","code":404}"#;

/// Answers one request after the other: nothing is found.
fn answer(connection: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection.try_clone()?);
    let mut connection = connection;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 {
        // Requests that read have no body: an empty line ends them.
        if line == "\r\n" {
            let length = NOT_FOUND.len();
            write!(
                connection,
                "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{NOT_FOUND}"
            )?;
        }
        line.clear();
    }
    Ok(())
}

/// Runs the operator with an API server that closes the first so many connections, and then knows nothing, until it ends.
fn run(closed: usize) -> Output {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let server = format!("http://{}", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        for connection in listener.incoming().skip(closed).flatten() {
            thread::spawn(move || answer(connection));
        }
    });
    let folder = std::env::temp_dir().join(format!("grpc-hygiene-start-{}-{closed}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let kubeconfig = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server}}], "users": [{"name": "c", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}]});
    let config = json!({"prometheus": {"url": "http://127.0.0.1:9"}});
    for (name, text) in [("kubeconfig", kubeconfig), ("config.yaml", config)] {
        fs::write(folder.join(name), text.to_string()).expect("written");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_grpc-hygiene"))
        .args(["run", "--listen", "127.0.0.1:0", "--namespace", "hygiene", "--identity", "operator_1", "--config"])
        .arg(folder.join("config.yaml"))
        .env("KUBECONFIG", folder.join("kubeconfig"))
        .output();
    fs::remove_dir_all(&folder).expect("removed");
    output.expect("the operator starts")
}

/// Else the kubelet would start it again later and later, and it would come back minutes after the API server.
#[test]
fn an_api_server_that_does_not_answer_yet_is_waited_for() {
    let output = run(2);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("the API server does not answer yet"), "{said}");
    assert!(said.contains("the custom resources are not installed"), "and then it goes on: {said}");
}

#[test]
fn definitions_that_are_missing_are_not_waited_for() {
    let output = run(0);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("the custom resources are not installed"), "{said}");
    assert!(!said.contains("does not answer"), "{said}");
}
