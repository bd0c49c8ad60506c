//! Members that come by invitation and go by revocation, with real processes.

use crate::network::{free_port, recipe};
use crate::node::{Node, path};
use crate::program::{ok, run};

#[test]
fn an_organization_joins_by_a_code_trains_with_the_others_and_is_revoked() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    let listen = || format!("/ip4/127.0.0.1/tcp/{}", free_port());
    let mut ada = Node::init(root.path(), "ada", &listen());
    let data = at("data");
    ok(&[
        "data",
        "make",
        "newswire",
        "--out",
        path(&data),
        "--nodes",
        "2",
        "--train",
        "400",
        "--test",
        "100",
    ]);
    let plan = recipe(root.path(), &[("outer_steps", 9_000), ("inner_steps", 8), ("pulls", 1)]);
    let charter = at("charter");
    ok(&[
        "charter",
        "new",
        "--recipe",
        path(&plan),
        "--out",
        path(&charter),
        "--invite",
        "--founder",
        &ada.peer,
    ]);
    ok(&["charter", "sign", path(&charter.join("charter.toml")), "--dir", path(&ada.dir)]);

    // The first member invites itself; without an invitation nobody starts.
    let (ada_dir, ada_data) = (ada.dir.clone(), data.join("node-1"));
    let at_ada = ["--charter", path(&charter), "--dir", path(&ada_dir)];
    let start = ["--charter", path(&charter), "--data", path(&ada_data)];
    let alone = run(&[&["run", "--dir", path(&ada_dir)], &start[..]].concat());
    assert!(alone.code == Some(5) && alone.stderr.contains("starling join CODE"), "{alone:?}");
    let invite = |organization: &str, address: &str| -> String {
        let args = [&["invite", "--organization", organization, "--address", address][..], &at_ada].concat();
        let made = ok(&args);
        assert_eq!((made["signatures"].as_u64(), made["threshold"].as_u64()), (Some(1), Some(1)), "{made}");
        made["code"].as_str().unwrap().to_owned()
    };
    let own = invite("ada press", "/ip4/127.0.0.1/tcp/1");
    ok(&["join", &own, "--charter", path(&charter), "--dir", path(&ada_dir), "--yes"]);
    ada.start(&start);
    let address = ada.address();

    // Nothing but the code goes to Bela.
    let code = invite("Bela Wire", &address);
    let bela_dir = at("bela");
    let asked = run(&["join", &code, "--dir", path(&bela_dir)]);
    assert!(asked.code == Some(2) && asked.stdout.contains("your data stays on your machine"), "{asked:?}");
    let joined =
        ok(&["join", &code, "--dir", path(&bela_dir), "--data", path(&data.join("node-2")), "--yes"]);
    assert_eq!(joined["organization"], "Bela Wire", "{joined}");
    let eve = at("eve");
    let late = run(&["join", &code, "--dir", path(&eve), "--yes"]);
    assert!(late.code == Some(5) && late.stderr.contains("used by another key"), "{late:?}");
    let mistyped = run(&["join", &code[..code.len() - 1], "--dir", path(&eve), "--yes"]);
    assert_eq!(mistyped.code, Some(2), "{mistyped:?}");
    let again = ok(&["join", &code, "--dir", path(&bela_dir), "--yes"]);
    assert_eq!(again["peer_id"], joined["peer_id"], "whose answer was lost may ask again");

    let peer = joined["peer_id"].as_str().unwrap().to_owned();
    let mut bela = Node::at(root.path(), "bela", &peer);
    let settings = bela_dir.join("starling.toml");
    let text = std::fs::read_to_string(&settings).unwrap();
    let text = text.replace("#listen = [\"/ip4/0.0.0.0/tcp/7171\"]", &format!("listen = [\"{}\"]", listen()));
    std::fs::write(&settings, text).unwrap();
    bela.start(&[]);
    for node in [&mut ada, &mut bela] {
        node.until("a mix with the other", |node| {
            node.events_of("mixed").into_iter().find(|e| e["peers"].as_u64() == Some(1))
        });
    }
    assert_eq!(bela.status().unwrap()["organization"], "Bela Wire");
    assert_eq!(ada.events_of("admitted").len(), 1);

    // The list of peers is told once a second; steps are faster here.
    ada.until("bela to be listed", |node| {
        let peers = ok(&["peers", "--dir", path(&node.dir)])["peers"].clone();
        peers.as_array()?.iter().find(|p| p["peer_id"].as_str() == Some(peer.as_str()))?;
        Some(())
    });
    // Bela is a member no more; nobody else does anything.
    let revoked = ok(&["revoke", &peer[..8], "--charter", path(&charter), "--dir", path(&ada_dir)]);
    assert_eq!(
        (revoked["version"].as_u64(), revoked["is_in_force"].as_bool()),
        (Some(1), Some(true)),
        "{revoked}"
    );
    ada.until("the link to be cut", |node| {
        let peers = ok(&["peers", "--dir", path(&node.dir)])["peers"].clone();
        peers.as_array().unwrap().iter().all(|p| p["is_linked"] == false).then_some(())
    });
    let step = ada.step();
    ada.until_step(step + 3);
    let alone = ada.events_of("mixed").into_iter().rev().take(2).all(|e| e["peers"] == 0);
    assert!(alone, "{:?}", ada.events_of("mixed").last());
    let twice = run(&["revoke", &peer, "--charter", path(&charter), "--dir", path(&ada_dir)]);
    assert!(twice.code == Some(5) && twice.stderr.contains("revoked already"), "{twice:?}");
    // The list survives a restart.
    ada.signal("TERM");
    assert_eq!(ada.end().code, Some(0));
    ada.start(&start);
    ada.address();
    let step = ada.step();
    ada.until_step(step + 3);
    assert!(ada.events_of("mixed").into_iter().rev().take(2).all(|e| e["peers"] == 0));
}

#[test]
fn an_operator_pauses_resumes_bans_and_leaves() {
    let mut net =
        crate::network::Network::found(2, &[("outer_steps", 400), ("inner_steps", 8), ("pulls", 1)]);
    net.start_all(&[0, 1]);
    net.nodes[1].until_step(2);
    let dir = net.nodes[1].dir.clone();
    ok(&["pause", "--dir", path(&dir)]);
    net.nodes[1].until("the state paused", |node| (node.status()?["state"] == "paused").then_some(()));
    let at = net.nodes[1].step();
    let other = net.nodes[0].step();
    net.nodes[0].until_step(other + 3);
    assert!(net.nodes[1].step() <= at + 1, "it finishes the step under way and no other");
    ok(&["resume", "--dir", path(&dir)]);
    net.nodes[1].until_step(at + 3);

    let banned = run(&["peers", "ban", "ada", "--dir", path(&dir)]);
    assert!(banned.code == Some(2) && banned.stderr.contains("--reason"), "{banned:?}");
    ok(&["peers", "ban", "ada", "--reason", "sends rubbish", "--dir", path(&dir)]);
    net.nodes[1].until("no link", |node| (node.status()?["peers"] == 0).then_some(()));
    let order = net.nodes[1].events_of("order").into_iter().find(|e| e["order"]["verb"] == "ban").unwrap();
    assert_eq!(order["order"]["reason"], "sends rubbish");
    ok(&["peers", "unban", "ada", "--reason", "made up", "--dir", path(&dir)]);
    let nobody = run(&["peers", "ban", "nobody", "--reason", "x", "--dir", path(&dir)]);
    assert_eq!(nobody.code, Some(2), "{nobody:?}");

    ok(&["leave", "--dir", path(&dir)]);
    let ended = net.nodes[1].end();
    assert!(ended.code == Some(0) && ended.stdout.contains("left the run"), "{ended:?}");
    let gone = run(&["pause", "--dir", path(&dir)]);
    assert_eq!(gone.code, Some(4), "{gone:?}");
}

/// The program with the passphrase of a locked key in a file.
fn unlocked(file: &std::path::Path, args: &[&str]) -> Option<i32> {
    let prefix = ["env".to_owned(), format!("STARLING_PASSPHRASE_FILE={}", path(file))];
    let status = crate::program::command(&prefix, args)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status();
    status.expect("env runs programs").code()
}

#[test]
fn a_member_locks_its_key_takes_a_new_one_and_trains_on_with_the_others() {
    let changes = [("outer_steps", 9_000), ("inner_steps", 8), ("pulls", 1)];
    let mut net = crate::network::Network::found(2, &changes);
    net.start(0, &[]);
    let address = net.nodes[0].address();
    net.start(1, &["--bootstrap", &address]);
    let mix = |node: &Node| node.events_of("mixed").into_iter().find(|e| e["peers"].as_u64() == Some(1));
    net.nodes.iter_mut().for_each(|node| drop(node.until("a mix with the other", mix)));
    let (dir, charter) = (net.nodes[1].dir.clone(), net.charter.clone());
    let at = ["--dir", path(&dir), "--charter", path(&charter)];
    let rotate = [&["key", "rotate"][..], &at].concat();
    let busy = run(&rotate);
    assert_ne!(busy.code, Some(0), "a running node keeps its key: {busy:?}");
    net.nodes[1].signal("TERM");
    assert_eq!(net.nodes[1].end().code, Some(0));

    let secret = net.at("passphrase");
    std::fs::write(&secret, "correct horse battery staple\n").unwrap();
    assert_eq!(unlocked(&secret, &["key", "encrypt", "--dir", path(&dir)]), Some(0));
    let locked = run(&["key", "show", "--dir", path(&dir)]);
    assert!(locked.code == Some(3) && locked.stderr.contains("STARLING_PASSPHRASE_FILE"), "{locked:?}");
    assert_eq!(unlocked(&secret, &[&rotate[..], &["--grace", "1 d"]].concat()), Some(0));
    assert_eq!(unlocked(&secret, &["key", "decrypt", "--dir", path(&dir)]), Some(0));
    let old = net.nodes[1].peer.clone();
    let new = ok(&["key", "show", "--dir", path(&dir)])["peer_id"].as_str().unwrap().to_owned();
    assert_ne!(old, new);

    net.start(1, &["--bootstrap", &address]);
    let listed = |node: &Node, peer: &str| {
        let peers = ok(&["peers", "--dir", path(&node.dir)])["peers"].clone();
        peers.as_array()?.iter().find(|p| p["peer_id"].as_str() == Some(peer)).cloned()
    };
    let row = net.nodes[0].until("the new key to take part", |node| {
        listed(node, &new).filter(|p| p["is_linked"] == true && p["outer_step"].as_u64() > Some(0))
    });
    assert_eq!(row["organization"], "bela press", "{row}");
    assert_eq!(listed(&net.nodes[0], &old).map(|p| p["is_linked"].clone()), Some(false.into()));
    let pulled =
        |node: &Node| node.events_of("pulled").into_iter().find(|e| e["peer"].as_str() == Some(&new));
    net.nodes[0].until("an update under the new key to be mixed", pulled);
    ok(&["audit", "ledger", "verify", path(&dir)]);
}
