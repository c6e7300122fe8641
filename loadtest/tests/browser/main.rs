//! The page of the report in a real browser, headless Chromium: on a phone and on a desk, by day and by
//! night. The pictures are left under `target/tmp/report/`, to be looked at.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed set-up is a failed test"
)]

mod browser;
mod sample;

use browser::{Facts, Screen};

const PHONE: u32 = 390;
const DESK: u32 = 1280;

fn look(name: &str, page: &str, width: u32, dark: bool) -> Facts {
    browser::look(name, page, Screen { width, height: 2_600, dark })
}

/// What must hold on every screen.
fn assert_readable(facts: &Facts, width: u32) {
    assert!(facts.scroll_width <= width, "wider than its screen: {facts:?}");
    assert!(facts.plots.len() >= 6, "{facts:?}");
    for plot in &facts.plots {
        assert!(plot.width > 250.0 && plot.right <= f64::from(width), "{plot:?}");
        assert!(plot.smallest_text >= 9.0, "too small to read: {plot:?}");
        assert_eq!(plot.overlapping_texts, 0, "{plot:?}");
        assert!(plot.marks > 0, "an empty plot: {plot:?}");
        assert!(plot.contrast >= 3.0, "lines that cannot be seen: {plot:?}");
    }
    assert!(facts.contrast >= 7.0, "{facts:?}");
    assert_eq!(facts.resources, 0, "something was loaded: {facts:?}");
    assert!(facts.json_is_readable, "{facts:?}");
}

#[test]
fn the_page_can_be_read_on_a_phone_and_on_a_desk_by_day_and_by_night() {
    let page = sample::clean();
    for (width, name) in [(PHONE, "phone"), (DESK, "desk")] {
        let by_day = look(&format!("{name}-day"), &page, width, false);
        let by_night = look(&format!("{name}-night"), &page, width, true);
        assert_readable(&by_day, width);
        assert_readable(&by_night, width);
        assert!(by_day.brightness > 0.8 && by_night.brightness < 0.2, "{by_day:?} {by_night:?}");
        assert_eq!(by_day.verdict, "Every reply as planned, every 202 a row, once and in order");
    }
}

#[test]
fn a_wrong_run_says_so_first_and_names_what_is_wrong() {
    let facts = look("phone-wrong", &sample::wrong(), PHONE, false);
    assert_readable(&facts, PHONE);
    assert_eq!(facts.verdict, "The tables are not what the 202s promised");
    assert!(facts.text.contains("lt-00000000002a-7 got a 202 and has no row"), "{}", facts.text);
}

#[test]
fn the_page_names_no_place_outside_of_itself() {
    let page = sample::clean().replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
    for outside in ["http:", "https:", "//", " src=", " href=", "url(", "@import", "<script>"] {
        let found = page.find(outside).map(|at| &page[at..(at + 60).min(page.len())]);
        assert_eq!(found, None, "{outside}");
    }
}
