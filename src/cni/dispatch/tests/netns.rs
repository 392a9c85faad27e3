//! Calls about the network namespace that the plugin itself runs in.

use super::*;

#[test]
fn the_plugins_own_namespace_gets_no_address() {
    let msg = "plugin's netns and netns from CNI_NETNS should not be the same";
    let own = |command| given(command).with("CNI_NETNS", OWN_NETNS);
    assert_eq!(own("ADD").refused(), said(8, msg, ""));
    let mut unsupported = own("ADD").version("9.9.9");
    assert_eq!(failure(&unsupported.run()).0, 1);

    for value in ["1", "true", "True", "TRUE"] {
        for command in ["ADD", "DEL"] {
            let mut given = own(command).with("CNI_NETNS_OVERRIDE", value);
            assert_eq!(given.run().exit, 0, "{command} {value}");
        }
    }
    for value in ["0", "yes", "2"] {
        let refused = own("ADD").with("CNI_NETNS_OVERRIDE", value).refused();
        assert_eq!(refused.0, 8, "{value}");
    }
}

#[test]
fn an_address_in_the_plugins_own_namespace_is_taken_back_all_the_same() {
    let mut del = given("DEL").with("CNI_NETNS", OWN_NETNS);
    assert_eq!(failure(&del.run()).0, 8);
    assert_eq!(del.called(), ["del"]);

    let busy = Error::new(Code::TryAgain, "busy");
    let mut del = given("DEL").with("CNI_NETNS", OWN_NETNS).failing(busy);
    assert_eq!(failure(&del.run()).0, 11);
    for command in ["CHECK", "GC", "STATUS"] {
        let mut given = given(command).with("CNI_NETNS", OWN_NETNS);
        assert_eq!(given.run(), Reply::default(), "{command}");
    }
}
