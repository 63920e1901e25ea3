//! What a failure says.

use super::notation::{history, text};
use crate::history::History;

fn story(text: &str) -> String {
    let history: History = history(text);
    let verdict = history.check_strict_serializability();
    verdict.expect_err("wrong on purpose").to_string()
}

#[test]
fn stale_read_in_words() {
    let story = story(
        "T1 [0..1] append x 1 ; append x 2 : ok
         T2 [4..7] append x 3 : ok
         T3 [9..12] read x [1 2] : ok",
    );
    assert_eq!(
        story,
        "I8 (strict serializability): G-single-realtime: each of 2 transactions must be \
         before the next, and the last before the first\n\
         \x20 T3 read [1 2] of key x, without 3, which T2 appended next,\n\
         \x20 yet T2 had finished (at 7 ms) before T3 began (at 9 ms).\n\
         \x20 T2 [4..7] append x 3 : ok (client 0)\n\
         \x20 T3 [9..12] read x [1 2] : ok (client 0)\n"
    );
}

#[test]
fn overwritten_and_read_in_words() {
    let story = story(
        "T1 [0..5] append x 1 ; read y [2] : ok
         T2 [0..5] append x 2 ; append y 2 : ok
         T3 [0..5] read x [1 2] : ok",
    );
    let want = "G1c: each of 2 transactions must be before the next, and the last before the first
  T1 appended 1 to key x before T2 appended 2,
  yet T1 read 2 of key y, which T2 appended.";
    assert!(story.contains(want), "{story}");
}

#[test]
fn append_that_nobody_read_in_words() {
    let story = story(
        "T1 [0..2] append x 1 : ok
         T2 [3..9] append x 2 : ok
         T3 [1..9] read x [2] : ok",
    );
    let want = "  T2 appended 2 to key x before T1 appended 1,\n  yet T1 had finished (at 2 ms)";
    assert!(story.contains(want), "{story}");
}

#[test]
fn long_lists_are_shortened() {
    let mut text = String::new();
    for n in 1..=40 {
        text += &format!("T{n} [0..5] append x {n} : ok\n");
    }
    let values: Vec<_> = (1..=40).map(|n: u32| n.to_string()).collect();
    text += &format!("T41 [0..5] read x [{} 99] : ok\n", values.join(" "));
    let want = "T41 read [1 2 3 (29 more) 33 34 35 36 37 38 39 40 99] of key x, \
                but nobody appended 99 to it";
    assert!(story(&text).contains(want), "{}", story(&text));
}

#[test]
fn flaws_in_words() {
    for (text, want) in [
        (
            "T1 [0..5] append x 1 : aborted
             T2 [6..9] read x [1] : ok",
            "T2 read [1] of key x, but T1, which appended 1, was told it had aborted (G1a)",
        ),
        (
            "T1 [0..5] append x 1 ; append x 2 : ok
             T2 [6..9] read x [1] : ok",
            "T2 read [1] of key x, but T1, which appended 1, appended 2 right after it (G1b)",
        ),
        (
            "T1 [0..5] append x 1 : ok
             T2 [6..9] read x [1 1] : ok",
            "T2 read [1 1] of key x, but T1 appended 1 only once",
        ),
        (
            "T1 [0..5] append x 1 ; append x 2 : ok
             T2 [6..9] read x [2] : ok",
            "T2 read [2] of key x, but T1 appended 1 before 2",
        ),
        (
            "T1 [0..5] append x 1 ; read x [] : ok",
            "T1 read [] of key x, which does not end with what it had appended itself, [1]",
        ),
        (
            "T1 [0..5] read x [1] ; append x 1 : ok",
            "T1 read [1] of key x, but it appended 1 itself, and only afterwards",
        ),
        (
            "T1 [0..5] append x 1 : ok
             T2 [0..5] read x [] ; read x [1] : ok",
            "T2 read [1] of key x, but had found [] in it before, its own appends left out",
        ),
        (
            "T1 [0..5] append x 1 : ok
             T2 [0..5] append x 2 : ok
             T3 [6..9] read x [1 2] : ok
             T4 [6..9] read x [2 1] : ok",
            "T4 read [2 1] of key x, and T3 read [1 2]; neither is the beginning of the other",
        ),
    ] {
        let story = story(text);
        assert_eq!(story, format!("I8 (strict serializability): {want}"));
    }
}

#[test]
fn notation_reads_what_is_written() {
    let written = "T1 [0..5] append x 1 ; read y [] ; read x [1] : ok\n\
                   T2 [1..] read x ? : unknown\n\
                   T3 [2..3] read x [1 2] : aborted\n";
    let history: History = history(written);
    assert_eq!(text(&history), written);
}
