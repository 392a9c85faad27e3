//! A cluster of three members, of which some are not there.

use std::net::TcpListener;
use std::time::Duration;

use serde_json::json;

use super::super::call::{Network, addresses, call};
use super::{add, at, del, network, owners};
use crate::support::etcd::Etcd;
use crate::support::run::Running;

/// A network with these members as its endpoints, in this order.
fn of(members: &[Etcd]) -> Network {
    let hosts: Vec<String> = members.iter().map(Etcd::host).collect();
    at(&hosts.join(","), "10.0.0.0/24")
}

#[tokio::test]
async fn calls_go_on_while_one_member_is_stopped() {
    let mut members = Etcd::three().await;
    let network = of(&members);
    // Each of them once, so the leader as well.
    for n in 0..3_u8 {
        members[usize::from(n)].stop();
        // Which member is asked first is chance.
        for pod in ["a", "b", "c", "d"] {
            let result = add(&network, pod).await;
            let check = call("CHECK", &network.previous(&result));
            check
                .container(pod)
                .pod("default", pod)
                .run()
                .await
                .expect(0);
        }
        for pod in ["a", "c"] {
            del(&network, pod).await;
        }
        call("STATUS", &network).run().await.expect(0);
        let valid = json!([{"containerID": "d", "ifname": "net1"}]);
        let gc = network.top("cni.dev/valid-attachments", valid);
        call("GC", &gc).run().await.expect(0);
        members[usize::from(n)].start_again();
        members[usize::from(n)].wait_for_a_leader().await;
        let left: Vec<String> = owners(&members[0]).await.into_values().collect();
        assert_eq!(left, ["d"]);
    }
    del(&network, "d").await;
    assert_eq!(owners(&members[1]).await, [].into());
}

#[tokio::test]
async fn a_member_that_never_answers_is_left_for_another_one() {
    let etcd = Etcd::start();
    // Whoever connects waits for ever.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap();
    let network = at(&format!("{silent},{}", etcd.host()), "10.0.0.0/24");
    let network = network
        .with("add_timeout", json!("10s"))
        .with("del_timeout", json!("10s"));
    // Which one is asked first is chance.
    let names: Vec<String> = (0..8).map(|n| format!("web-{n}")).collect();
    let at_once = |command: &'static str| {
        let all = names.iter().map(|name| {
            let call = call(command, &network).container(name);
            call.pod("default", name).spawn()
        });
        let all: Vec<Running> = all.collect();
        all
    };
    for running in at_once("ADD") {
        running.wait().await.expect(0);
    }
    assert_eq!(owners(&etcd).await.len(), names.len());
    for running in at_once("DEL") {
        running.wait().await.expect(0);
    }
    assert_eq!(owners(&etcd).await, [].into());
}

#[tokio::test]
async fn without_a_quorum_nothing_is_given_and_nothing_is_lost() {
    let mut members = Etcd::three().await;
    let network = of(&members)
        .with("add_timeout", json!("4s"))
        .with("del_timeout", json!("4s"));
    let result = add(&network, "a").await;
    for gone in [0, 1] {
        members[gone].stop();
    }
    for (command, container) in [("ADD", "b"), ("DEL", "a"), ("ADD", "a"), ("DEL", "b")] {
        let failed = call(command, &network).container(container);
        let failed = failed.pod("default", container).run().await.expect(1);
        let error = failed.json();
        let msg = error["msg"].as_str().unwrap();
        for member in &members {
            assert!(msg.contains(&member.host()), "{command} {msg}");
        }
    }
    let check = call("CHECK", &network.previous(&result));
    let check = check.container("a").pod("default", "a");
    check.run().await.expect(1);
    assert_eq!(call("STATUS", &network).run().await.code, Some(1));
    for back in [0, 1] {
        members[back].start_again();
    }
    members[2].wait_for_a_leader().await;
    // A change that was on its way when the others ended may be made now, so it is asked to undo it.
    del(&network, "b").await;
    assert_eq!(owners(&members[2]).await, [(1, "a".to_owned())].into());
    assert_eq!(add(&network, "a").await, result);
    assert_eq!(addresses(&add(&network, "b").await), ["10.0.0.2/24"]);
    for container in ["a", "b"] {
        del(&network, container).await;
    }
    assert_eq!(owners(&members[0]).await, [].into());
}

#[tokio::test]
async fn many_adds_outlive_a_restart_of_etcd_and_kills() {
    const COUNT: usize = 100;
    let mut etcd = Etcd::start();
    let network = network(&etcd, "10.0.0.0/24").with("add_timeout", json!("20s"));
    let start = |n: usize| {
        let name = format!("web-{n}");
        let add = call("ADD", &network).container(&name);
        add.pod("default", &name).spawn()
    };
    let running: Vec<Running> = (0..COUNT).map(start).collect();
    while owners(&etcd).await.len() < COUNT / 10 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    etcd.stop();
    for killed in running.iter().skip(4).step_by(5) {
        killed.signal_if_running("KILL");
    }
    etcd.start_again();
    let mut given = Vec::new();
    for running in running {
        let outcome = running.wait().await;
        let is_given = outcome.code == Some(0);
        given.push(is_given.then(|| addresses(&outcome.json()).remove(0)));
    }
    let at = |address: &str| -> u8 {
        let address = address.strip_prefix("10.0.0.").unwrap();
        address.strip_suffix("/24").unwrap().parse().unwrap()
    };
    let recorded = owners(&etcd).await;
    for (n, given) in given.iter().enumerate() {
        let Some(given) = given else { continue };
        assert_eq!(recorded[&at(given)], format!("web-{n}"), "{given}");
    }
    assert!(given.iter().flatten().count() > 0);
    // Called again, each has the one that it has, and those that failed get theirs.
    for (n, before) in given.iter().enumerate() {
        let again = start(n).wait().await.expect(0);
        let again = addresses(&again.json()).remove(0);
        assert!(before.as_ref().is_none_or(|before| *before == again));
    }
    assert_eq!(owners(&etcd).await.len(), COUNT);
    for n in 0..COUNT {
        del(&network, &format!("web-{n}")).await;
    }
    assert_eq!(owners(&etcd).await, [].into());
}
