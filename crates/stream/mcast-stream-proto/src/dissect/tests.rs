use crate::wire::{
    Acknowledgement, AddressToken, Announce, AnnouncedPath, DatagramWriter, Flags, Header, Heartbeat,
    Incarnation, IncarnationSalt, KeyEpoch, Kind, ListedRepairer, MessageNumber, NakWriter, RepairerList,
    Reset, ResetReason, Sequence, Status, StreamId, SubscriberId, SubscriberName,
};
use proptest::prelude::*;

use super::StreamDatagram;

/// The datagrams of docs/protocol.md, section *Golden vectors*.
const DATA: &str = "4d43 10 01 08 08 0000 0102030405060708 11223344 00000007 0000000000000005 0002 6869 0000";
const PIECE: &str =
    "4d43 10 01 0a 80 0000 0102030405060708 11223344 00000008 0000000000000006 8102 0000 00000bb8 616263";
const NAK: &str = "4d43 10 04 0b 00 0000 0102030405060708 11223344 00000000 0000000000000003
    8903 0000 000000000000aabb 0000000000000005
    0000000000000032 0001 0001 00000000 00000006 00000096 00000064";
const MANIFEST: &str = "4d43 10 08 1c 00 0000 0102030405060708 11223344 00000000 0000000000000007
    8a03 0000 aabbccddeeff0011 0711 5647
    2a96973771fb95416a76a934a676cfb5776b000104290c14b3969474e313ce5d
    d2a46e4d421c875ec9aab04917ec655190f4796e0dcb1092230acd9327a34704
    0002 0000 e2cceabf3b5fad40f0c391e09548ee5f 80ca607179976cc1a6810522caf3cbca";
#[cfg(feature = "serde")]
const PARITY: &str = "4d43 10 02 08 40 0000 0102030405060708 11223344 00000000 000000000000000f
    0000000000000005 02 01 0000 0018 89 20 000000d3 031b324d0000aac1fbe21e";
const HISTORY: &str =
    "4d43 10 0c 08 00 0000 0102030405060708 00000000 00000000 0000000000000001 0307 04 1e58 0a000001";

const HISTORY_SEARCH: &str = "4d43 10 0d 08 00 0000 0102030405060708 00000000 00000000 0000000000000001
    000000000000000000000000000000000000000000000000";
/// A heartbeat of a publisher that serves the history of its stream.
const SERVED: &str = "4d43 10 03 09 00 0000 0102030405060708 11223344 00000000 000000000000000b 1001 1e58
    0000000000000001 0000000000000000 0000000000000001 0000000000000000
    0000000000000000 0000000000000000 0000000000000000 00000000 00000000 00 01 00 00
    00000000 0000 0000 00000000";

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digits: Vec<u8> = hexadecimal.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

fn text(bytes: &[u8]) -> Option<String> {
    StreamDatagram::recognize(bytes, None).map(|datagram| datagram.to_string())
}

#[test]
fn golden_vectors_as_text() {
    let of = "stream 0102030405060708, incarnation 287454020";
    assert_eq!(text(&bytes(DATA)).unwrap(), format!("mcast stream data, {of}, number 5, messages 7 to 8"));
    assert_eq!(
        text(&bytes(PIECE)).unwrap(),
        format!("mcast stream data, {of}, number 6, first fragment of message 8, 3 of 3000 bytes")
    );
    assert_eq!(
        text(&bytes(NAK)).unwrap(),
        format!(
            "mcast stream nak, {of}, subscriber 000000000000aabb, missing 50, 52-53, 200-299 (103 datagrams)"
        )
    );
}

#[test]
fn history_servers_are_named() {
    let of = "mcast stream history, stream 0102030405060708, incarnation 0";
    assert_eq!(text(&bytes(HISTORY)).unwrap(), format!("{of}, history from 10.0.0.1:7768"));
    let unspecified = HISTORY.replace("0a000001", "00000000");
    assert_eq!(text(&bytes(&unspecified)).unwrap(), format!("{of}, history from port 7768 of its source"));
    let broken = HISTORY.replace("0307", "0308");
    assert!(text(&bytes(&broken)).unwrap().contains("broken"));
    let of = "mcast stream history-search, stream 0102030405060708, incarnation 0";
    assert_eq!(text(&bytes(HISTORY_SEARCH)).unwrap(), format!("{of}, searches a history server"));
    let heartbeat = text(&bytes(SERVED)).unwrap();
    assert!(heartbeat.ends_with(", serves its history at port 7768"), "{heartbeat}");
}

#[cfg(feature = "serde")]
fn json(hexadecimal: &str) -> serde_json::Value {
    let datagram = bytes(hexadecimal);
    serde_json::to_value(StreamDatagram::recognize(&datagram, None).unwrap()).unwrap()
}

#[cfg(feature = "serde")]
#[test]
fn golden_vectors_as_json() {
    let data = json(DATA);
    assert_eq!((&data["kind"], &data["number"]), (&"data".into(), &5.into()));
    assert_eq!((&data["message"], &data["messages"]), (&7.into(), &2.into()));
    assert_eq!((&data["sealed"], &data["malformed"]), (&false.into(), &serde_json::Value::Null));
    let part = serde_json::json!({"first": true, "last": false, "length": 3, "total": 3000});
    assert_eq!(json(PIECE)["fragment"], part);
    let nak = json(NAK);
    let missing = serde_json::json!([
        {"first": 50, "last": 50}, {"first": 52, "last": 53}, {"first": 200, "last": 299}
    ]);
    assert_eq!(nak["missing"], missing);
    assert_eq!(nak["subscriber"], "000000000000aabb");
    let history = json(HISTORY);
    assert_eq!((&history["kind"], &history["history_server"]), (&"history".into(), &"10.0.0.1:7768".into()));
    assert_eq!(json(HISTORY_SEARCH)["kind"], "history-search");
    assert_eq!(json(SERVED)["history_port"], 7768);
}

#[cfg(feature = "serde")]
#[test]
fn sealed_broken_and_cut_off_datagrams_are_marked_in_json() {
    let sealed = json("4d43 10 01 08 10 0003 0000000000000001 00000002 00000000 0000000000000009 aaaaaaaa");
    assert_eq!((&sealed["sealed"], &sealed["epoch"]), (&true.into(), &3.into()));
    assert!(sealed.get("messages").is_none(), "{sealed}");
    let broken = json("4d43 10 01 08 0c 0000 0102030405060708 11223344 00000007 0000000000000005 0002 6869");
    assert_eq!(broken["malformed"], "the reserved flag is set");
    let start = &bytes(DATA)[..33];
    let cut_off = serde_json::to_value(StreamDatagram::recognize_cut_off(start).unwrap()).unwrap();
    assert_eq!(cut_off["truncated"], true);
}

#[test]
fn a_long_list_is_shortened() {
    let mut list = NakWriter::new();
    for number in 0..100 {
        assert!(list.add(Sequence(1_000 + 10 * number), 2));
    }
    let mut buffer = [0; 1_400];
    let header = Header::new(Kind::Nak, StreamId(1), Incarnation(2), 3);
    let mut writer = DatagramWriter::new(&mut buffer, &header).unwrap();
    writer.subscriber(SubscriberId(7)).unwrap();
    list.write_nak(AddressToken::NONE, &mut writer).unwrap();
    let length = writer.finish();
    let shown = text(&buffer[..length]).unwrap();
    assert!(
        shown.ends_with("missing 1000-1001, 1010-1011, 1020-1021, 1030-1031, 1040-1041, 1050-1051, 1060-1061, 1070-1071 and 92 more ranges (200 datagrams)"),
        "{shown}"
    );
}

#[test]
fn the_name_in_an_announcement_is_escaped() {
    let mut announce = Announce::new("pri\x1b[2Jces");
    let source = Some([10, 0, 0, 1].into());
    announce.paths[0] = Some(AnnouncedPath::new(([239, 1, 2, 3], 5000).into(), source));
    announce.snapshot = Some(([10, 0, 0, 1], 4000).into());
    let mut buffer = [0; 400];
    let header = Header::new(Kind::Announce, StreamId(1), Incarnation(2), 3);
    let mut writer = DatagramWriter::new(&mut buffer, &header).unwrap();
    announce.write(&mut writer).unwrap();
    let length = writer.finish();
    let shown = text(&buffer[..length]).unwrap();
    assert!(
        shown.ends_with("\"pri\\x1b[2Jces\" at 10.0.0.1@239.1.2.3:5000, snapshots from 10.0.0.1:4000"),
        "{shown}"
    );
}

#[test]
fn a_heartbeat_names_the_subscribers_that_repair_for_others() {
    let mut repairers = RepairerList::default();
    assert!(repairers.add(ListedRepairer::new(1, ([10, 0, 0, 7], 7000).into())));
    assert!(repairers.add(ListedRepairer::new(2, ([10, 0, 0, 8], 7001).into())));
    let mut buffer = [0; 400];
    let header = Header::new(Kind::Heartbeat, StreamId(1), Incarnation(2), 3);
    let mut writer = DatagramWriter::new(&mut buffer, &header).unwrap();
    repairers.write(&mut writer).unwrap();
    let heartbeat = Heartbeat::default().with(|heartbeat| {
        heartbeat.next = Sequence(1);
        heartbeat.oldest_retained = Sequence(1);
    });
    heartbeat.write(&mut writer).unwrap();
    let length = writer.finish();
    let shown = text(&buffer[..length]).unwrap();
    assert!(shown.ends_with(", repairers 10.0.0.7:7000, 10.0.0.8:7001"), "{shown}");
    #[cfg(feature = "serde")]
    assert_eq!(
        serde_json::to_value(StreamDatagram::recognize(&buffer[..length], None).unwrap()).unwrap()["repairers"],
        serde_json::json!(["10.0.0.7:7000", "10.0.0.8:7001"])
    );
}

#[test]
fn a_reset_says_whether_it_refuses() {
    let shown = |reason| {
        let mut buffer = [0; 100];
        let header = Header::new(Kind::Reset, StreamId(1), Incarnation(2), 0);
        let mut writer = DatagramWriter::new(&mut buffer, &header).unwrap();
        Reset::new(SubscriberId(7), reason).write(&mut writer).unwrap();
        let length = writer.finish();
        text(&buffer[..length]).unwrap()
    };
    assert!(shown(ResetReason::Evicted).contains("refuses subscriber"));
    let confirmation = shown(ResetReason::EndConfirmed);
    assert!(
        confirmation.contains("confirms the end of the stream") && !confirmation.contains("refuses"),
        "{confirmation}"
    );
}

#[test]
fn every_flag_of_a_status_has_a_name() {
    assert_eq!(super::status_names(63).count(), 6);
}

#[test]
fn a_status_shows_its_name_and_what_it_acknowledges() {
    let shown = |since, received, processed| {
        let mut buffer = [0; 200];
        let header = Header::new(Kind::Status, StreamId(1), Incarnation(2), 0);
        let mut writer = DatagramWriter::new(&mut buffer, &header).unwrap();
        writer.subscriber(SubscriberId(7)).unwrap();
        "db-1".parse::<SubscriberName>().unwrap().write(&mut writer).unwrap();
        let [since, received, processed] = [since, received, processed].map(MessageNumber);
        Acknowledgement::new(since, received, processed).write(&mut writer).unwrap();
        Status::default().write(&mut writer).unwrap();
        let length = writer.finish();
        text(&buffer[..length]).unwrap()
    };
    let one = shown(20, 90, 60);
    assert!(one.contains("subscriber 0000000000000007 (db-1)"), "{one}");
    assert!(one.ends_with(", received messages 20 to 89, processed to 59"), "{one}");
    assert!(shown(20, 20, 20).ends_with(", received no messages"));
}

#[test]
fn a_sealed_datagram_shows_its_header() {
    let header = Header::new(Kind::Data, StreamId(1), Incarnation(2), 9)
        .with(|header| (header.epoch, header.flags) = (KeyEpoch(3), Flags::REPAIR));
    let mut sealed = header.bytes().to_vec();
    sealed.extend([0xaa; 20]);
    let shown = text(&sealed).unwrap();
    assert!(shown.ends_with("number 9, sent again, sealed with epoch 3, 4 bytes"), "{shown}");
}

#[test]
fn other_datagrams_are_not_recognized() {
    assert_eq!(text(b"MCAST hello, everybody out there on this group!"), None);
    assert_eq!(text(b"MC"), None);
    assert_eq!(text(b""), None);
    let with = |at: usize, value: u8| {
        let mut bytes = bytes(DATA);
        bytes[at] = value;
        text(&bytes)
    };
    assert_eq!(with(1, b'D'), None, "another magic");
    assert_eq!(with(2, 0x20), None, "another major version");
    assert_eq!(with(3, 0), None, "no kind");
    assert_eq!(with(3, 15), None, "a kind that this version cannot have");
    assert_eq!(with(4, 7), None, "a header shorter than any");
    assert_eq!(with(4, 64), None, "a header longer than any");
}

#[test]
fn damaged_datagrams_are_reported_as_broken() {
    let cut = |to: usize| text(&bytes(DATA)[..to]).unwrap();
    assert_eq!(cut(20), "mcast stream, broken: the datagram is truncated");
    assert!(
        cut(35).contains("data, stream 0102030405060708")
            && cut(35).contains(", broken: the body is malformed")
    );
    let mut flagged = bytes(DATA);
    flagged[5] |= 4;
    assert_eq!(text(&flagged).unwrap(), "mcast stream, broken: the reserved flag is set");
    let mut later = bytes(DATA);
    (later[2], later[3]) = (0x11, 200);
    assert!(text(&later).unwrap().ends_with("kind 200 is unknown"));
}

#[test]
fn the_start_of_a_datagram_is_reported_as_cut_off() {
    let whole = bytes(PIECE);
    let datagram = StreamDatagram::recognize_cut_off(&whole[..whole.len() - 2]).unwrap();
    assert!(datagram.to_string().ends_with("number 6, truncated"), "{datagram}");
}

#[cfg(feature = "seal")]
#[test]
fn a_key_opens_only_what_it_sealed() {
    use crate::seal::{Algorithm, GroupSecret, Keys, Purpose, Sealed, Secret};
    use crate::wire::push_message;

    use super::opened;

    let keys = |fill: u8| Keys::one(KeyEpoch(3), GroupSecret::new(&[fill; 32], Algorithm::default()));
    let mut body = [0; 7];
    push_message(&mut body, 0, b"hello").unwrap();
    let header = Header::new(Kind::Data, StreamId(1), Incarnation(2), 9)
        .with(|header| (header.epoch, header.flags) = (KeyEpoch(3), Flags::BATCH));
    let secret = GroupSecret::new(&[7; 32], Algorithm::default());
    let cipher = secret.cipher(&Purpose::of(&header, Sealed::Data(IncarnationSalt::NONE)));
    let tag = cipher.seal(9, &header.bytes(), &mut body).unwrap();
    let sealed = [&header.bytes()[..], &body, &tag].concat();
    let clear = opened(&sealed, &keys(7)).unwrap();
    let shown = StreamDatagram::recognize(&sealed, Some(&clear)).unwrap().to_string();
    assert!(shown.ends_with("sealed with epoch 3, message 0"), "{shown}");
    assert_eq!(opened(&sealed, &keys(8)), None);
    assert_eq!(opened(&bytes(DATA), &keys(7)), None, "it is clear");
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_not_panic(
        kind in 0_u8..14, words in 0_u8..70, flags: u8, epoch in 0_u16..2,
        body in prop::collection::vec(any::<u8>(), 0..300), cut in 0_usize..340, minor in 0_u8..3,
    ) {
        let mut datagram = Header::new(Kind::Data, StreamId(1), Incarnation(2), 3).bytes().to_vec();
        (datagram[2], datagram[3], datagram[4], datagram[5]) = (0x10 | minor, kind, words, flags);
        datagram[6..8].copy_from_slice(&epoch.to_be_bytes());
        datagram.extend(body);
        datagram.truncate(cut);
        for shown in [StreamDatagram::recognize(&datagram, None), StreamDatagram::recognize_cut_off(&datagram)] {
            let Some(shown) = shown else { continue };
            let text = shown.to_string();
            prop_assert!(text.starts_with("mcast stream") && !text.contains(char::is_control), "{text}");
        }
    }

    #[test]
    fn a_damaged_byte_does_not_panic(at in 0_usize..64, value: u8) {
        for golden in [DATA, PIECE, NAK] {
            let mut damaged = bytes(golden);
            let length = damaged.len();
            damaged[at % length] = value;
            let _ = text(&damaged);
        }
    }
}

#[test]
fn a_manifest_names_the_datagrams_that_it_covers_and_the_key() {
    let text = text(&bytes(MANIFEST)).unwrap();
    assert!(text.contains("manifest"), "{text}");
    assert!(text.ends_with("number 7, covers numbers 5 to 6, signed by key 5647"), "{text}");
    let mut one = Header::new(Kind::Manifest, StreamId(1), Incarnation(2), 7).bytes().to_vec();
    one.extend_from_slice(&[0, 1, 0, 0]);
    one.extend_from_slice(&[9; 16]);
    let read = StreamDatagram::recognize(&one, None).unwrap();
    assert!(read.to_string().ends_with("number 7, covers number 6"), "{read}");
    assert_eq!(read.sequence(), Some(7));
}

#[cfg(feature = "serde")]
#[test]
fn manifests_and_parity_as_json() {
    let manifest = json(MANIFEST);
    assert_eq!((&manifest["kind"], &manifest["signer"]), (&"manifest".into(), &"5647".into()));
    let digests = ["e2cceabf3b5fad40f0c391e09548ee5f", "80ca607179976cc1a6810522caf3cbca"];
    assert_eq!(manifest["manifest"], serde_json::json!({"first": 5, "digests": digests}));
    let symbol = serde_json::json!({
        "first": 5, "last": 6, "index": 1, "is_last": true, "epoch": 0, "length": 19,
    });
    assert_eq!(json(PARITY)["parity"], symbol);
}
