//! How the place in a trace travels: in the metadata of a call, as the W3C has it for
//! HTTP, and beside each message of a frame that holds many.

use nemcon_proto::v1;
use nemcon_trace::Context;
use tonic::Request;
use tonic::metadata::{MetadataMap, MetadataValue};

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

/// Reads what a call came with. What is malformed, or there twice, is no trace.
#[must_use]
pub fn received(metadata: &MetadataMap) -> Option<Context> {
    let mut parents = metadata.get_all(TRACEPARENT).iter();
    let parent = parents.next()?.to_str().ok()?;
    if parents.next().is_some() {
        return None;
    }
    // One list may come in several headers.
    let states = metadata.get_all(TRACESTATE).iter();
    let states: Option<Vec<&str>> = states.map(|state| state.to_str().ok()).collect();
    Context::parse(parent, &states.unwrap_or_default().join(","))
}

/// A request that says where it belongs, if it is traced.
#[must_use]
pub fn traced<T>(message: T, trace: Option<&Context>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(trace) = trace {
        write(trace, request.metadata_mut());
    }
    request
}

/// Writes it where [`received`] reads it.
pub fn write(trace: &Context, metadata: &mut MetadataMap) {
    // A context is made of what can be a header, so neither fails.
    if let Ok(parent) = MetadataValue::try_from(trace.traceparent()) {
        metadata.insert(TRACEPARENT, parent);
    }
    let state = trace.tracestate();
    if let Some(state) = Some(state).filter(|state| !state.is_empty())
        && let Ok(state) = MetadataValue::try_from(state)
    {
        metadata.insert(TRACESTATE, state);
    }
}

/// Reads what stands beside a message among many.
#[must_use]
pub fn beside(trace: Option<&v1::TraceContext>) -> Option<Context> {
    let trace = trace?;
    Context::parse(&trace.traceparent, &trace.tracestate)
}

/// As it stands beside a message among many.
#[must_use]
pub fn to_wire(trace: &Context) -> v1::TraceContext {
    v1::TraceContext {
        traceparent: trace.traceparent(),
        tracestate: trace.tracestate(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn it_comes_back_both_ways_as_it_was_sent() {
        let context = Context::parse(PARENT, "rojo=1,congo=t61").unwrap();
        let request = traced((), Some(&context));
        assert_eq!(received(request.metadata()), Some(context.clone()));
        assert_eq!(beside(Some(&to_wire(&context))), Some(context));
        assert_eq!(received(traced((), None).metadata()), None);
        assert_eq!(beside(None), None);
        assert_eq!(beside(Some(&v1::TraceContext::default())), None);
    }

    #[test]
    fn a_list_may_be_in_several_headers_and_a_parent_may_not() {
        let mut metadata = MetadataMap::new();
        metadata.append(TRACEPARENT, PARENT.parse().unwrap());
        metadata.append(TRACESTATE, "rojo=1".parse().unwrap());
        metadata.append(TRACESTATE, "congo=t61".parse().unwrap());
        let context = received(&metadata).unwrap();
        assert_eq!(context.tracestate(), "rojo=1,congo=t61");
        metadata.append(TRACEPARENT, PARENT.parse().unwrap());
        assert_eq!(received(&metadata), None);
    }
}
