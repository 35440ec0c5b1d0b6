//! The types for tokio.

use std::time::Duration;

use mcast::Family;
use mcast_lab::Impairment;
use mcast_stream::receiver::{Event, Item};
use mcast_stream::tokio::{Publisher, Subscriber};

use crate::net::{Net, PATIENCE, message};

#[test]
fn tasks_publish_and_hear_over_a_lossy_link() {
    let net = Net::new(Family::V4, 1, Impairment { loss: 0.05, ..Impairment::default() });
    let subscriber = net.subscriber(0, |settings| settings);
    let publisher = net.publisher(|settings| settings.history(256 << 10));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let hearing = tokio::spawn(async move {
            let mut subscriber = Subscriber::new(subscriber).unwrap();
            let mut count = 0;
            while let Some(item) = subscriber.next().await.unwrap() {
                match item {
                    Item::Message(heard) => {
                        assert_eq!((heard.number, heard.bytes), (count, &message(count)[..]));
                        count += 1;
                    }
                    Item::Event(event) => assert!(!matches!(event, Event::Lost { .. }), "{event:?}"),
                }
            }
            count
        });
        let publisher = Publisher::new(publisher);
        while !publisher.wait_for(1, Duration::ZERO) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for number in 0..600 {
            assert_eq!(publisher.publish(&message(number)).await.unwrap(), number);
        }
        assert!(publisher.wait_complete(PATIENCE).await);
        let closing = tokio::task::spawn_blocking(|| publisher.into_inner().close(PATIENCE)).await.unwrap();
        assert!(closing.behind.is_empty(), "{closing:?}");
        assert_eq!(tokio::time::timeout(PATIENCE, hearing).await.unwrap().unwrap(), 600);
    });
}
