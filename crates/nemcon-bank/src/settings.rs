//! Settings of a bank's node: those of any participant, with a bank's defaults.

use nemcon_node::settings::Field;
use nemcon_participant::Settings;

/// The fields of [`Settings`], with the defaults of the first bank: `bank-a`, on
/// port 7110, beside the coordinator on port 7100 of the same machine.
#[must_use]
pub fn fields() -> Vec<Field> {
    Settings::fields("bank-a", "127.0.0.1:7110", "nemcon-data/bank-a")
}
