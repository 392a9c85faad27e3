//! One command installs everything.

use std::os::unix::fs::PermissionsExt;

use crate::world::{NODES, World};

#[test]
fn one_command_puts_the_plugin_onto_every_node() {
    let mut world = World::lock();
    for name in NODES {
        let node = world.node(name);
        let said = node.run(
            "echo '{\"cniVersion\":\"1.0.0\"}' | CNI_COMMAND=VERSION /opt/cni/bin/whereabouts",
        );
        let said = String::from_utf8(said.stdout).unwrap();
        assert!(said.contains("\"1.1.0\""), "{said}");
        let folder = node.file("etc/cni/net.d/whereabouts.d");
        let kubeconfig = folder.join("whereabouts.kubeconfig");
        let mode = kubeconfig.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
