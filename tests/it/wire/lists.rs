//! Lists: pages of one moment while others write, revisions, and field selectors.

use serde_json::{Value, json};

use super::{World, config_map, names, pod, version};

pub fn pages(world: &World) {
    let maps = format!("{}/configmaps", world.namespace("paged"));
    for name in ["b", "d", "f", "h", "j"] {
        world.create(&maps, &config_map(name, "1"));
    }
    let query = |token: &str| format!("{maps}?limit=2&labelSelector=v&continue={token}");
    let token = |page: &Value| page["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
    let first = world.get(&query("")).expect(200);
    // Before, within and behind what was shown: changed, gone, new.
    world.merge(&format!("{maps}/f"), &json!({"data": {"key": "new"}})).expect(200);
    world.delete(&format!("{maps}/d"), &json!({})).expect(200);
    world.delete(&format!("{maps}/h"), &json!({})).expect(200);
    for name in ["a", "g", "k"] {
        world.create(&maps, &config_map(name, "1"));
    }
    let second = world.get(&query(&token(&first.body))).expect(200);
    world.delete(&format!("{maps}/j"), &json!({})).expect(200);
    let third = world.get(&query(&token(&second.body))).expect(200);
    assert_eq!([names(&first.body), names(&second.body), names(&third.body)].concat(), ["b", "d", "f", "h", "j"]);
    assert_eq!(second.body["items"][0]["data"]["key"], "1", "as it stood at the first page");
    assert_eq!((first.version(), token(&third.body).as_str()), (third.version(), ""));
    let again = world.get(&query(&token(&first.body))).expect(200);
    assert_eq!(again.body, second.body, "a token may be used twice");
    let now = world.get(&format!("{maps}?labelSelector=v")).body;
    assert_eq!(names(&now), ["a", "b", "f", "g", "k"]);
    // A watch from a page's revision misses nothing.
    let path = format!("{maps}?watch=1&labelSelector=v&resourceVersion={}", first.version());
    assert_eq!(world.events(&path, 7).len(), 7);

    let all = world.get("/api/v1/namespaces?limit=1").expect(200);
    let count = all.body["metadata"]["remainingItemCount"].as_u64().unwrap();
    assert!(count >= 3, "{}", all.body);
    for bad in ["frob", "e30", &token(&all.body)] {
        world.get(&query(bad)).refused(400, "BadRequest");
    }
    let both = format!("{}&resourceVersion={}", query(&token(&first.body)), first.version());
    world.get(&both).refused(400, "BadRequest");
}

/// A list that has expired after `first`, its first page: the rest can be had, as it is now.
pub fn expired(world: &World, maps: &str, first: &Value) {
    assert_eq!(names(first), ["a"]);
    let query = |object: &Value| {
        let token = object["metadata"]["continue"].as_str().unwrap();
        format!("{maps}?labelSelector=v&limit=1&continue={token}")
    };
    let told = world.get(&query(first));
    told.refused(410, "Expired");
    let next = world.get(&query(&told.body)).expect(200);
    assert_eq!(names(&next.body), ["c"]);
    assert_ne!(next.version(), version(first));
}

pub fn revisions(world: &World) {
    let maps = format!("{}/configmaps", world.namespace("revisions"));
    let first = version(&world.create(&maps, &config_map("a", "1")));
    let second = version(&world.create(&maps, &config_map("b", "1")));
    world.delete(&format!("{maps}/a"), &json!({})).expect(200);
    let list = |query: &str| world.get(&format!("{maps}?labelSelector=v&{query}"));
    for (query, expected) in [
        ("", "b"),
        ("resourceVersion=0", "b"),
        (&format!("resourceVersion={first}"), "b"),
        (&format!("resourceVersion={first}&resourceVersionMatch=NotOlderThan"), "b"),
        (&format!("resourceVersion={first}&resourceVersionMatch=Exact"), "a"),
        (&format!("resourceVersion={second}&resourceVersionMatch=Exact"), "a b"),
        (&format!("resourceVersion={second}&limit=9"), "a b"),
    ] {
        assert_eq!(names(&list(query).expect(200).body).join(" "), expected, "{query}");
    }
    let exact = list(&format!("resourceVersion={second}&resourceVersionMatch=Exact"));
    assert_eq!(exact.version(), second);
    list("resourceVersionMatch=Exact").refused(422, "Invalid");
    list("resourceVersion=0&resourceVersionMatch=Exact").refused(422, "Invalid");
    list("resourceVersion=7&resourceVersionMatch=Frob").refused(422, "Invalid");
    list("resourceVersion=999999999999").refused(504, "Timeout");
    list("resourceVersion=-1").refused(400, "BadRequest");
    world.get(&format!("{maps}/b?resourceVersion=0")).expect(200);
    world.get(&format!("{maps}/b?resourceVersion=999999999999")).refused(504, "Timeout");
}

pub fn fields(world: &World) {
    let core = world.namespace("fields");
    world.create(&format!("{core}/pods"), &pod("one"));
    world.create(&format!("{core}/pods"), &pod("two"));
    world.merge(&format!("{core}/pods/two/status"), &json!({"status": {"phase": "Running"}})).expect(200);
    let event = |name: &str, reason: &str| {
        let about = json!({"kind": "Pod", "namespace": "fields", "name": name, "uid": "u"});
        let source = json!({"component": "me"});
        json!({"metadata": {"name": name}, "involvedObject": about, "reason": reason, "type": "Normal", "source": source})
    };
    world.create(&format!("{core}/events"), &event("one", "Seen"));
    world.create(&format!("{core}/events"), &event("two", "Lost"));
    world.create(&format!("{core}/secrets"), &json!({"metadata": {"name": "s"}, "type": "example.com/x"}));
    for (plural, selector, expected) in [
        ("pods", "metadata.name=one", "one"),
        ("pods", "metadata.name!=one", "two"),
        ("pods", "metadata.namespace=fields,status.phase=Running", "two"),
        ("pods", "metadata.namespace=other", ""),
        ("pods", "spec.nodeName=", "one two"),
        ("pods", "spec.schedulerName==nobody,spec.restartPolicy=Always", "one two"),
        ("events", "involvedObject.name=one,involvedObject.kind=Pod", "one"),
        ("events", "involvedObject.namespace=fields,involvedObject.uid=u,reason=Lost,type=Normal", "two"),
        ("events", "source=me", "one two"),
        ("secrets", "type=example.com/x", "s"),
    ] {
        let escaped = selector.replace('=', "%3D").replace(',', "%2C");
        let found = world.get(&format!("{core}/{plural}?fieldSelector={escaped}")).expect(200);
        assert_eq!(names(&found.body).join(" "), expected, "{plural} {selector}");
    }
    for (plural, selector) in
        [("pods", "spec.frob=x"), ("pods", "frob"), ("configmaps", "status.phase=x"), ("pods", "a=b=c")]
    {
        let escaped = selector.replace('=', "%3D");
        world.get(&format!("{core}/{plural}?fieldSelector={escaped}")).refused(400, "BadRequest");
        world.get(&format!("{core}/{plural}?watch=1&fieldSelector={escaped}")).refused(400, "BadRequest");
    }
    for selector in ["a%20in", "a%3D%3D%3Db", "-a", "a%20in%20()", "!", "a%3Db%2C%2C"] {
        world.get(&format!("{core}/pods?labelSelector={selector}")).refused(400, "BadRequest");
    }
}
