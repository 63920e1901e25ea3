//! The border between the bytes of others and the actions of a resource.

use nemcon_core::message::Payload;
use nemcon_core::reason::{Reason, Refusal};
use nemcon_core::resource::Resource;

/// Turns payloads into a resource's actions, and its results into payloads.
pub trait Decode<R: Resource>: Send + Sync + 'static {
    /// Reads and checks an action: whatever can be seen to be wrong without the
    /// data is refused here.
    ///
    /// `inputs` are results of other operations, of this participant or of others,
    /// that the action is to use: at most 32, in an order that the action's type
    /// defines. The coordinator has passed them on unread, so their types have to be
    /// looked at like that of the action. Where an action uses none, [`no_inputs`]
    /// refuses those that come with it.
    ///
    /// # Errors
    /// A [`Refusal`], mostly [`invalid_action`]. It becomes a no vote, so the
    /// transaction aborts with this reason.
    fn action(&self, payload: Payload, inputs: Vec<Payload>) -> Result<R::Action, Refusal>;

    /// Writes a result.
    fn result(&self, result: R::Result) -> Payload;
}

/// The refusal of an action that makes no sense; `what` names the field, its
/// value and what is allowed.
#[must_use]
pub fn invalid_action(what: impl Into<String>) -> Refusal {
    Refusal::new(Reason::INVALID_ACTION, what)
}

/// For an action that uses no results of other operations.
///
/// # Errors
/// The refusal of inputs that came with it all the same: whoever sent them expects
/// something of them.
pub fn no_inputs(type_url: &str, inputs: &[Payload]) -> Result<(), Refusal> {
    if inputs.is_empty() {
        return Ok(());
    }
    Err(invalid_action(format!(
        "{} inputs of {type_url}: want none, since it uses no results of other operations",
        inputs.len()
    )))
}
