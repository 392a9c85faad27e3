use super::*;

fn attachments(json: &str) -> Result<Option<Vec<Attachment>>, Error> {
    valid_attachments(json.as_bytes())
}

fn attachment(container_id: &str, ifname: &str) -> Attachment {
    Attachment {
        container_id: container_id.to_owned(),
        ifname: ifname.to_owned(),
    }
}

fn addresses(json: &str) -> Option<Vec<(String, Option<String>)>> {
    let addresses = previous_addresses(json.as_bytes()).unwrap()?;
    let texts = addresses.into_iter().map(|Address { address, gateway }| {
        (
            address.to_string(),
            gateway.map(|gateway| gateway.to_string()),
        )
    });
    Some(texts.collect())
}

fn pair(address: &str, gateway: Option<&str>) -> (String, Option<String>) {
    (address.to_owned(), gateway.map(str::to_owned))
}

#[test]
fn no_list_of_attachments_is_not_an_empty_one() {
    assert_eq!(attachments(r#"{"name":"a"}"#), Ok(None));
    assert_eq!(
        attachments(r#"{"cni.dev/valid-attachments":null}"#),
        Ok(None)
    );
    assert_eq!(attachments(r#"{"cni.dev/attachments":[]}"#), Ok(None));
    assert_eq!(
        attachments(r#"{"cni.dev/valid-attachments":[]}"#),
        Ok(Some(Vec::new()))
    );
}

#[test]
fn attachments_are_read_in_order() {
    let json = r#"{"cni.dev/valid-attachments":[{"containerID":"c1","ifname":"eth0"},
        {"CONTAINERID":"c2","ifName":"net1","x":1},{"containerID":"c3"}]}"#;
    let expected = vec![
        attachment("c1", "eth0"),
        attachment("c2", "net1"),
        attachment("c3", ""),
    ];
    assert_eq!(attachments(json), Ok(Some(expected)));
}

#[test]
fn a_list_of_attachments_that_is_broken_is_an_error() {
    for list in [
        "5",
        "{}",
        "[5]",
        "[null]",
        "[{}]",
        r#"[{"ifname":"eth0"}]"#,
        r#"[{"containerID":"","ifname":"eth0"}]"#,
        r#"[{"containerID":5}]"#,
        r#"["c1"]"#,
    ] {
        let json = format!(r#"{{"cni.dev/valid-attachments":{list}}}"#);
        let error = attachments(&json).unwrap_err();
        assert_eq!(error.code.number(), 6, "{json}");
        assert!(error.msg.contains("cni.dev/valid-attachments: "), "{error}");
    }
}

#[test]
fn a_previous_result_that_is_not_there_is_not_an_empty_one() {
    assert_eq!(addresses(r#"{"name":"a"}"#), None);
    assert_eq!(addresses(r#"{"prevResult":null}"#), None);
    assert_eq!(addresses(r#"{"prevResult":{}}"#), Some(Vec::new()));
    assert_eq!(
        addresses(r#"{"prevResult":{"ips":null,"ip4":null}}"#),
        Some(Vec::new())
    );
}

#[test]
fn previous_results_of_all_forms_are_read() {
    let oldest = r#"{"prevResult":{"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.5/24",
        "gateway":"10.0.0.1","routes":[{"dst":"0.0.0.0/0"}]},"ip6":{"ip":"fd00::5/64"},"dns":{}}}"#;
    let expected = vec![
        pair("10.0.0.5/24", Some("10.0.0.1")),
        pair("fd00::5/64", None),
    ];
    assert_eq!(addresses(oldest), Some(expected));

    let middle = r#"{"prevResult":{"cniVersion":"0.4.0","interfaces":[{"name":"net1"}],"ips":[
        {"version":"4","interface":0,"address":"10.0.0.5/24","gateway":"10.0.0.1"},
        {"version":"6","address":"FD00::5/64"}],"dns":{}}}"#;
    let expected = vec![
        pair("10.0.0.5/24", Some("10.0.0.1")),
        pair("fd00::5/64", None),
    ];
    assert_eq!(addresses(middle), Some(expected));

    let current = r#"{"PrevResult":{"cniVersion":"1.1.0","ips":[{"Address":"10.0.0.5/24"},
        {"address":"::ffff:10.0.0.6/120","gateway":""}]}}"#;
    let expected = vec![pair("10.0.0.5/24", None), pair("10.0.0.6/24", None)];
    assert_eq!(addresses(current), Some(expected));
}

#[test]
fn a_previous_result_that_is_broken_is_an_error() {
    for result in [
        "5",
        "[]",
        r#"{"ips":{}}"#,
        r#"{"ips":[{}]}"#,
        r#"{"ips":[null]}"#,
        r#"{"ips":[{"ip":"10.0.0.5/24"}]}"#,
        r#"{"ips":[{"address":"10.0.0.5"}]}"#,
        r#"{"ips":[{"address":"10.0.0.5/24","gateway":"x"}]}"#,
        r#"{"ip4":{"address":"10.0.0.5/24"}}"#,
        r#"{"ip4":"10.0.0.5/24"}"#,
    ] {
        let json = format!(r#"{{"prevResult":{result}}}"#);
        let error = previous_addresses(json.as_bytes()).unwrap_err();
        assert_eq!(error.code.number(), 6, "{json}");
        assert!(error.msg.contains("prevResult: "), "{error}");
    }
}
