//! Requests to pods in sandboxes, as messages.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use wherry_vnet::{Body, HttpHandler, Unanswered, full_body};

use crate::world::World;

async fn world() -> (World, Arc<dyn HttpHandler>) {
    let world = World::new().await;
    // Kept by the sandbox, whoever lets go of it.
    drop(world.start("shop", "web", "web", &[]).await.unwrap());
    let handler = world.handler("web").await;
    (world, handler)
}

async fn get(handler: &Arc<dyn HttpHandler>, path: &str) -> Result<Response<Body>, Unanswered> {
    handler.handle(Request::get(path).header("host", "web.example").body(full_body("")).unwrap()).await
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn heads_bodies_and_trailers_cross_as_they_are() {
    let (_world, handler) = world().await;
    let response = get(&handler, "/told").await.unwrap();
    let twice: Vec<_> = response.headers().get_all("x-a").iter().map(|value| value.to_str().unwrap()).collect();
    assert_eq!((response.status().as_u16(), twice), (201, vec!["1", "2"]));
    assert_eq!(text(response).await, r#"GET /told {"host": "web.example"}"#);
    let whole = get(&handler, "/trailers").await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(whole.trailers().unwrap()["x-sum"], "5");
    assert_eq!(whole.to_bytes(), "whole");
}

#[tokio::test]
async fn bodies_stream_both_ways_past_any_window() {
    let (_world, handler) = world().await;
    let sent: Vec<Bytes> = (0..200_u8).map(|number| vec![number; 1 + usize::from(number) * 97].into()).collect();
    let whole = sent.concat();
    assert!(whole.len() > 1024 * 1024);
    let pieces = futures::stream::iter(sent.into_iter().map(|piece| Ok(Frame::data(piece))));
    let request = Request::post("/echo").body(StreamBody::new(pieces).boxed_unsync()).unwrap();
    let echo = handler.handle(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    assert!(echo == whole, "{} of {} bytes", echo.len(), whole.len());
}

#[tokio::test]
async fn one_that_does_not_read_holds_up_no_other() {
    let (_world, handler) = world().await;
    let mut unread = Vec::new();
    for _ in 0..32 {
        unread.push(get(&handler, "/endless").await.unwrap());
    }
    let told = futures::future::join_all((0..256).map(|_| async { text(get(&handler, "/told").await.unwrap()).await }));
    assert!(told.await.iter().all(|told| told.starts_with("GET /told")));
    let mut read = 0;
    let mut body = unread.pop().unwrap().into_body();
    while read < 1024 * 1024 {
        read += body.frame().await.unwrap().unwrap().into_data().unwrap().len();
    }
}

#[tokio::test]
async fn a_caller_that_leaves_takes_its_guest_along() {
    let (world, handler) = world().await;
    let asked = tokio::task::spawn({
        let handler = Arc::clone(&handler);
        async move { drop(get(&handler, "/wait").await) }
    });
    world.printed("web", "waits").await;
    assert!(!world.log("web").contains("dropped"));
    asked.abort();
    world.printed("web", "dropped").await;
    let before = world.log("web").matches("dropped").count();
    let mut body = get(&handler, "/endless").await.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap()[0], 7);
    drop(body);
    crate::world::until(|| world.log("web").matches("dropped").count() > before).await;
}

#[tokio::test]
async fn what_breaks_off_says_so() {
    let (world, handler) = world().await;
    let Err(Unanswered::Broken(_, Some(again))) = get(&handler, "/trap").await else { panic!("not broken") };
    assert_eq!((again.method().as_str(), again.uri().path()), ("GET", "/trap"));
    let begun = get(&handler, "/cut").await.unwrap().into_body().collect().await;
    assert!(begun.is_err());
    let asked = tokio::task::spawn({
        let handler = Arc::clone(&handler);
        async move { get(&handler, "/wait").await }
    });
    world.printed("web", "waits").await;
    world.kill("namespace-shop");
    assert!(matches!(asked.await.unwrap(), Err(Unanswered::Broken(_, Some(_)))));
    world.handler_gone("web").await;
    assert!(matches!(get(&handler, "/told").await, Err(Unanswered::Unseen(_))));
}

#[tokio::test]
async fn a_port_that_is_given_back_refuses_requests_whole() {
    let world = World::new().await;
    let container = world.start("shop", "web", "web", &[]).await.unwrap();
    let handler = world.handler("web").await;
    container.stop();
    container.exited().await;
    world.handler_gone("web").await;
    let request = Request::post("/echo").body(full_body("whole")).unwrap();
    let Err(Unanswered::Unseen(request)) = handler.handle(request).await else { panic!("not refused") };
    assert_eq!(request.into_body().collect().await.unwrap().to_bytes(), "whole");
}

#[tokio::test]
async fn the_next_node_asks_over_a_channel_of_its_own() {
    let world = World::new().await;
    let _web = world.start("shop", "web", "web", &[]).await.unwrap();
    let before = world.handler("web").await;
    assert_eq!(get(&before, "/told").await.unwrap().status(), 201);
    let world = world.die().await.revive().await;
    let _web = world.adopt("shop", "web").await;
    let after = world.handler("web").await;
    assert_eq!(get(&after, "/told").await.unwrap().status(), 201);
    assert!(matches!(get(&before, "/told").await, Err(Unanswered::Unseen(_))));
}
