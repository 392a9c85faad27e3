//! What a caller learns when no address can be given, and what GC cleans up.

use std::collections::BTreeSet;

use serde_json::json;

use super::Site;
use super::cnitool::{Main, cnitool, forget};
use super::relay::Relay;

#[tokio::test]
async fn a_full_range_is_said_by_status_and_add_until_del() {
    for main in [Main::Bridge, Main::Macvlan] {
        let site = Site::start().await;
        site.network(main, json!({"range": "10.0.0.0/30"}))
            .install(&site.node);
        let call = |command, pod| cnitool(&site.node, command, pod).run();
        call("status", "none").await.expect(0);
        site.add("web-0").await;
        site.add("web-1").await;
        let status = call("status", "none").await.expect(1);
        let full = "every range of the network is full";
        assert!(status.stderr.contains(full), "{status:#?}");
        site.node.add_pod("web-2");
        let add = call("add", "web-2").await.expect(1);
        let reason = "Could not allocate IP in range";
        assert!(add.stderr.contains(reason), "{add:#?}");
        // A runtime calls DEL after an ADD that failed.
        call("del", "web-2").await.expect(0);
        assert!(!site.node.has_link("web-2", "eth0"));
        assert_eq!(site.keys("10.0.0.0-30").await, BTreeSet::from([1, 2]));
        call("del", "web-0").await.expect(0);
        call("status", "none").await.expect(0);
        call("add", "web-2").await.expect(0);
        assert_eq!(site.node.addresses("web-2", "eth0"), ["10.0.0.1/30"]);
    }
}

#[tokio::test]
async fn calls_fail_while_the_api_server_is_away_and_succeed_when_repeated() {
    for main in [Main::Bridge, Main::Macvlan] {
        let mut site = Site::start().await;
        site.network(main, json!({"range": "10.0.0.0/24"}))
            .install(&site.node);
        site.add("web-0").await;
        site.node.add_pod("web-1");
        site.relay.stop().await;
        for (command, pod) in [
            ("status", "web-0"),
            ("check", "web-0"),
            ("del", "web-0"),
            ("add", "web-1"),
        ] {
            let failed = cnitool(&site.node, command, pod).run().await.expect(1);
            assert!(failed.stderr.contains("Connection refused"), "{failed:#?}");
        }
        site.relay = Relay::start(&site.node, &site.cluster);
        assert_eq!(site.keys("10.0.0.0-24").await, BTreeSet::from([1]));
        for command in ["del", "del"] {
            for pod in ["web-0", "web-1"] {
                cnitool(&site.node, command, pod).run().await.expect(0);
                assert!(!site.node.has_link(pod, "eth0"));
            }
        }
        site.assert_nothing_recorded(&["10.0.0.0-24"]).await;
        cnitool(&site.node, "add", "web-1").run().await.expect(0);
        assert_eq!(site.node.addresses("web-1", "eth0"), ["10.0.0.1/24"]);
    }
}

#[tokio::test]
async fn gc_takes_back_what_libcni_knows_of_and_nothing_else() {
    for main in [Main::Bridge, Main::Macvlan, Main::Whereabouts] {
        let site = Site::start().await;
        site.network(main, json!({"range": "10.0.0.0/24"}))
            .install(&site.node);
        for pod in ["web-0", "web-1", "web-2"] {
            site.add(pod).await;
        }
        // cnitool gives the plugin no list of what is valid, so what libcni has no result of stays.
        forget(&site.node, "web-1");
        cnitool(&site.node, "gc", "none").run().await.expect(0);
        assert_eq!(site.keys("10.0.0.0-24").await, BTreeSet::from([2]));
        assert_eq!(site.reservations().await, ["kube-system/10.0.0.2"]);
        let left = ["web-0", "web-1", "web-2"].map(|pod| site.node.has_link(pod, "eth0"));
        // The plugin alone makes no links.
        assert_eq!(left, [false, main != Main::Whereabouts, false]);
        cnitool(&site.node, "del", "web-1").run().await.expect(0);
        site.assert_nothing_recorded(&["10.0.0.0-24"]).await;
    }
}
