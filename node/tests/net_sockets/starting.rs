//! What the operator is told when the network cannot start.

use std::net::TcpListener;

use starling_node::net::error::NetError;
use starling_node::net::event::NetEvent;
use starling_node::net::start::start;

use crate::support::{Node, Table, config, quic};

fn listening_on(address: &str) -> starling_node::net::config::NetConfig {
    let mut config = config("starting", 1);
    config.listen = vec![address.parse().expect("a test writes valid addresses")];
    config
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = format!("/ip4/127.0.0.1/tcp/{}", other.local_addr().expect("it is bound").port());
    let error = start(listening_on(&address)).expect_err("the port is taken");
    assert!(matches!(&error, NetError::InUse { address: a } if a.to_string() == address), "{error}");
    assert!(error.to_string().contains(&address), "{error}");
}

#[tokio::test]
async fn a_second_node_on_the_port_of_the_first_does_not_start() {
    let first = Node::start("starting", 1, &[]).await;
    let port = first.address.to_string();
    let port = port.split("/p2p/").next().expect("split gives one");
    let error = start(listening_on(port)).expect_err("the port is taken");
    assert!(matches!(error, NetError::InUse { .. }), "{error}");
}

#[tokio::test]
async fn addresses_that_cannot_be_listened_on_are_refused_with_what_to_do() {
    let error = start(listening_on("/ip4/192.0.2.1/tcp/0")).expect_err("not an address of this machine");
    assert!(matches!(error, NetError::NotHere { .. }), "{error}");
    for address in
        ["/dns4/node.example/tcp/1", "/ip4/127.0.0.1", "/ip4/127.0.0.1/udp/1", "/ip4/127.0.0.1/tcp/1/ws"]
    {
        let error = start(listening_on(address)).expect_err(address);
        assert!(matches!(error, NetError::Unsupported { .. }), "{address}: {error}");
    }
}

#[test]
fn outside_a_runtime_it_says_so() {
    let error = start(config("starting", 1)).expect_err("there is no runtime");
    assert!(matches!(error, NetError::NoRuntime), "{error}");
}

#[tokio::test]
async fn a_node_listens_on_tcp_and_quic_and_its_ports_are_free_after_shutdown() {
    let mut config = config("starting", 2);
    config.listen.push(quic());
    let mut node = Node::with(config, Table::new()).await;
    let first = node.address.to_string();
    let second = node.until(|event| match event {
        NetEvent::Listening { address } => Some(address.to_string()),
        _ => None,
    });
    let both = [first, second.await];
    assert!(
        both.iter().any(|a| a.contains("/quic-v1")) && both.iter().any(|a| a.contains("/tcp/")),
        "{both:?}"
    );
    node.net.shutdown().await;
    let tcp = both.iter().find(|a| a.contains("/tcp/")).expect("just checked");
    let port: u16 = tcp.split('/').nth(4).expect("ip4, ip, tcp, port").parse().expect("a number");
    TcpListener::bind(("127.0.0.1", port)).expect("the port is free again");
}
