//! x
fn main() {
    for crd in grpc_hygiene::api::custom_resources() {
        println!("{}", grpc_hygiene::api::yaml(&crd).expect("x"));
    }
}
