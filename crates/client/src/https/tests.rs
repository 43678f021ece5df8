//! A client of several servers, over real connections: whom it asks, what it repeats, and what it does not.

mod fake;

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use http::Method;
use wherry_api::Kind;
use wherry_api::kinds::Pod;
use wherry_base::Trigger;

use super::Https;
use crate::{Client, Informer, Transport, WatchOptions, resumed};
use fake::{Cluster, Mood};

/// Reads, or writes; the name of the server that answered, or the error in a few words.
async fn ask(client: &Https, method: Method) -> String {
    let answered = client.call(method, "/x", "*/*", Some("text/plain"), Bytes::new()).await;
    match answered {
        Ok((status, _, body)) if status == 200 => String::from_utf8_lossy(&body).into_owned(),
        Ok((status, ..)) => status.as_str().to_owned(),
        Err(error) if error.message.contains("silent") => "silent".to_owned(),
        Err(error) if error.is_refusal() => "refused".to_owned(),
        Err(_) => "broken".to_owned(),
    }
}

/// Two servers of which the first is in a mood after it was well, or from the start: who answers a read and a write, and
/// whether the first was asked to write.
async fn check(mood: Mood, was_well: bool, read: &str, write: &str, first_was_written: bool) {
    for (method, expected) in [(Method::GET, read), (Method::POST, write)] {
        let cluster = Cluster::of(2).await;
        let (client, first) = (cluster.client(), &cluster.servers[0]);
        if was_well {
            assert_eq!(ask(&client, Method::GET).await, "0");
        }
        first.asked();
        first.be(mood);
        assert_eq!(ask(&client, method.clone()).await, expected, "{mood:?} {method}");
        let is_written = first.asked().contains(&"POST /x".to_owned());
        assert_eq!(is_written, method == Method::POST && first_was_written, "{mood:?} {method}");
        first.be(Mood::Well);
        let in_use = if expected == "1" || mood == Mood::Hung { "1" } else { "0" };
        assert_eq!(ask(&client, method.clone()).await, in_use, "{mood:?} {method}: afterwards");
    }
}

#[tokio::test]
async fn a_server_that_cannot_serve_is_left_and_only_what_may_be_is_repeated() {
    check(Mood::UnableInvites, true, "1", "1", true).await;
    check(Mood::Unable, true, "1", "503", true).await;
    check(Mood::Breaks, true, "1", "broken", true).await;
}

#[tokio::test]
async fn a_server_that_hangs_is_left_and_a_write_is_not_doubled() {
    check(Mood::Hung, true, "1", "silent", true).await;
    // Nothing was heard of it yet: a write is not sent before it has answered.
    check(Mood::Hung, false, "1", "1", false).await;
}

#[tokio::test]
async fn a_dead_server_costs_nothing() {
    let mut cluster = Cluster::of(3).await;
    let client = cluster.client();
    assert_eq!(ask(&client, Method::POST).await, "0");
    cluster.servers.remove(0).die().await;
    assert_eq!(ask(&client, Method::POST).await, "1");
    cluster.servers.remove(0).die().await;
    assert_eq!(ask(&client, Method::GET).await, "2");
    cluster.servers.remove(0).die().await;
    assert_eq!(ask(&client, Method::GET).await, "refused");
}

#[tokio::test]
async fn a_server_that_is_known_by_its_name_shows_a_certificate_for_it() {
    let cluster = Cluster::of(1).await;
    for (name, read) in [("one", "0"), ("two", "broken")] {
        let client = cluster.named(name);
        assert_eq!(ask(&client, Method::GET).await, read, "{name}");
        let refused = client.upgrade(Method::GET, "/x", http::HeaderMap::new()).await.err().unwrap();
        assert_eq!(refused.message.contains("certificate not valid for name"), name == "two", "{refused}");
    }
}

#[tokio::test]
async fn where_all_are_unable_their_word_is_told() {
    let cluster = Cluster::of(2).await;
    cluster.servers.iter().for_each(|server| server.be(Mood::UnableInvites));
    assert_eq!(ask(&cluster.client(), Method::POST).await, "503");
}

#[tokio::test]
async fn a_slow_server_is_waited_for_while_no_other_answers() {
    let cluster = Cluster::of(2).await;
    let client = cluster.client();
    let [first, second] = &cluster.servers[..] else { unreachable!() };
    first.be(Mood::Hung);
    second.be(Mood::Hung);
    let mut asked = Box::pin(ask(&client, Method::GET));
    let patience = tokio::time::sleep(std::time::Duration::from_secs(2));
    tokio::select! {
        answer = &mut asked => panic!("{answer}"),
        () = patience => {}
    }
    first.be(Mood::Well);
    assert_eq!(asked.await, "0");
}

#[tokio::test]
async fn a_write_waits_until_a_server_answers_that_can_serve() {
    let cluster = Cluster::of(2).await;
    let client = cluster.client();
    let [first, second] = &cluster.servers[..] else { unreachable!() };
    first.be(Mood::Hung);
    second.be(Mood::Unable);
    let mut asked = Box::pin(ask(&client, Method::POST));
    let patience = tokio::time::sleep(std::time::Duration::from_secs(1));
    tokio::select! {
        answer = &mut asked => panic!("{answer}"),
        () = patience => {}
    }
    second.be(Mood::Well);
    assert_eq!(asked.await, "1");
    assert!(first.asked().is_empty());
}

#[tokio::test]
async fn the_list_of_servers_may_change() {
    let cluster = Cluster::of(3).await;
    let urls: Vec<&str> = cluster.servers.iter().map(|server| server.url.as_str()).collect();
    let client = cluster.client_of(&urls[..1]);
    assert_eq!(ask(&client, Method::GET).await, "0");
    for (servers, expected) in [(&urls[..], "0"), (&urls[1..], "1"), (&[], "1"), (&urls[2..], "2")] {
        client.set_servers(servers).unwrap();
        assert_eq!(ask(&client, Method::GET).await, expected);
    }
    assert!(client.set_servers(&["http://plain:1"]).is_err());
}

#[tokio::test]
async fn a_watch_ends_with_the_place_of_its_server() {
    let cluster = Cluster::of(2).await;
    let client = cluster.client();
    let mut watch = client.watch(Pod::resource(), None, WatchOptions::default()).await.unwrap();
    watch.next().await.unwrap().unwrap();
    cluster.servers[0].be(Mood::Unable);
    assert_eq!(ask(&client, Method::GET).await, "1");
    assert!(watch.next().await.unwrap().is_err());
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn a_watch_that_is_resumed_goes_on_where_it_was() {
    let mut cluster = Cluster::of(2).await;
    let options = WatchOptions { resource_version: "5".into(), ..WatchOptions::default() };
    let mut watch = resumed(Arc::new(cluster.client()), Pod::resource(), None, options);
    let mut shows = async |name: &str| {
        let event = watch.next().await.unwrap().unwrap();
        assert!(String::from_utf8_lossy(&event.object).contains(&format!(r#""name":"{name}""#)));
    };
    shows("0").await;
    cluster.servers.remove(0).die().await;
    shows("1").await;
    let asked = cluster.servers[0].asked();
    assert_eq!(asked, ["GET /api/v1/pods?watch=true&resourceVersion=7&allowWatchBookmarks=true"]);
}

#[tokio::test]
async fn an_informer_goes_on_where_it_was_on_another_server() {
    let mut cluster = Cluster::of(2).await;
    let tasks = Trigger::new();
    let client = Client::new(Arc::new(cluster.client()));
    let pods = Informer::<Arc<Pod>>::spawn(client.all::<Pod>(), "", "", &tasks.drain());
    pods.synced().await;
    let mut changes = pods.changes();
    while pods.snapshot().is_empty() {
        changes.recv().await.unwrap();
    }
    cluster.servers.remove(0).die().await;
    while changes.recv().await.unwrap().name.as_ref() != "1" {}
    let asked = cluster.servers[0].asked();
    assert_eq!(asked, ["GET /api/v1/pods?watch=true&resourceVersion=7&allowWatchBookmarks=true"]);
}
