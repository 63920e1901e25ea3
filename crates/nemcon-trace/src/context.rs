//! Where in which trace something belongs, as it travels between processes.

use std::str::FromStr;

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// The longest `tracestate` that is passed on, in bytes: what the W3C asks everyone
/// to take. A longer one is left behind, for it would ride on every message.
pub const TRACESTATE_BYTES_MAX: usize = 512;

/// Version, trace, parent, flags: `00-` 32 digits `-` 16 digits `-` 2 digits.
const TRACEPARENT_BYTES: usize = 55;

/// The place of a span in a trace, and whether the trace is recorded: what the W3C's
/// Trace Context calls `traceparent` and `tracestate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context(pub(crate) SpanContext);

impl Context {
    /// Reads what came from outside. `None` for all that is not as the W3C has it: to
    /// the receiver there is no trace then. A `tracestate` that is malformed or longer
    /// than [`TRACESTATE_BYTES_MAX`] is left behind by itself.
    #[must_use]
    pub fn parse(traceparent: &str, tracestate: &str) -> Option<Self> {
        let text = traceparent.trim_matches([' ', '\t']);
        // What a later version adds stands behind another hyphen.
        let (known, more) = text.split_at_checked(TRACEPARENT_BYTES)?;
        let mut parts = known.split('-');
        let version = digits(parts.next()?, 2)?;
        let trace = digits(parts.next()?, 32)?;
        let span = digits(parts.next()?, 16)?;
        let flags = digits(parts.next()?, 2)?;
        let is_known = more.is_empty() || version != "00" && more.starts_with('-');
        if version == "ff" || !is_known {
            return None;
        }
        let flags = u8::from_str_radix(flags, 16).ok()?;
        let context = SpanContext::new(
            TraceId::from_hex(trace).ok()?,
            SpanId::from_hex(span).ok()?,
            TraceFlags::new(flags) & TraceFlags::SAMPLED,
            true,
            state(tracestate),
        );
        // All zeros are no id.
        context.is_valid().then_some(Self(context))
    }

    /// As `traceparent` has it.
    #[must_use]
    pub fn traceparent(&self) -> String {
        let Self(context) = self;
        let (trace, span) = (context.trace_id(), context.span_id());
        let flags = (context.trace_flags() & TraceFlags::SAMPLED).to_u8();
        format!("00-{trace}-{span}-{flags:02x}")
    }

    /// As `tracestate` has it; empty if there is none.
    #[must_use]
    pub fn tracestate(&self) -> String {
        self.0.trace_state().header()
    }

    /// Whether the trace is recorded.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.0.is_sampled()
    }
}

/// So many hexadecimal digits, none of them in upper case.
fn digits(text: &str, count: usize) -> Option<&str> {
    let is_digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (text.len() == count && text.bytes().all(is_digit)).then_some(text)
}

/// It goes on as a header, so it has to be one.
fn state(text: &str) -> TraceState {
    let is_header = text.len() <= TRACESTATE_BYTES_MAX && text.bytes().all(is_printable);
    let mut members = text.split(',').map(str::trim_start);
    if !is_header || members.any(|member| member.starts_with('=')) {
        return TraceState::default();
    }
    TraceState::from_str(text).unwrap_or_default()
}

const fn is_printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    #[test]
    fn what_is_well_formed_comes_back_as_it_was() {
        for flags in ["00", "01"] {
            let sent = format!("00-{TRACE}-{SPAN}-{flags}");
            let context = Context::parse(&sent, "rojo=1,congo=t61").unwrap();
            assert_eq!(context.traceparent(), sent);
            assert_eq!(context.tracestate(), "rojo=1,congo=t61");
            assert_eq!(context.is_sampled(), flags == "01");
        }
    }

    #[test]
    fn a_later_version_is_read_as_far_as_this_one_goes_and_flags_that_nobody_knows_are_dropped() {
        let later = format!("cc-{TRACE}-{SPAN}-09-what-will-come");
        let context = Context::parse(&later, "").unwrap();
        assert_eq!(context.traceparent(), format!("00-{TRACE}-{SPAN}-01"));
    }

    #[test]
    fn what_is_malformed_or_hostile_is_no_trace() {
        let zeros = ["0".repeat(32), "0".repeat(16)];
        let long = "a".repeat(1 << 20);
        for bad in [
            String::new(),
            "00".into(),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("cc-{TRACE}-{SPAN}-01more"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-{SPAN}-0x"),
            format!("+0-{TRACE}-{SPAN}-01"),
            format!("00-{}-{SPAN}-01", zeros[0]),
            format!("00-{TRACE}-{}-01", zeros[1]),
            format!("00-{TRACE}{SPAN}--01"),
            format!("00-{}é-{SPAN}-01", &TRACE[..30]),
            "é".repeat(40),
            long.clone(),
            format!("00-{long}-{SPAN}-01"),
        ] {
            assert_eq!(Context::parse(&bad, ""), None, "{bad:.80}");
        }
    }

    #[test]
    fn a_bad_tracestate_takes_the_trace_nowhere_else() {
        let sent = format!("00-{TRACE}-{SPAN}-01");
        let long = format!("a={}", "b".repeat(TRACESTATE_BYTES_MAX));
        for bad in [
            "no equals sign",
            "UPPER=1",
            &long,
            "=",
            "a=\n",
            "a=é",
            ",,,,",
        ] {
            let context = Context::parse(&sent, bad).unwrap();
            assert_eq!(context.tracestate(), "", "{bad:.40}");
            assert_eq!(context.traceparent(), sent);
        }
    }
}
