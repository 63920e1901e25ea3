//! Settings of a bank's node: those of any participant, with a bank's defaults.

use nemcon_node::settings::Field;
use nemcon_participant::Settings;

/// The bank one gets without saying anything: the first one, on port 7110,
/// beside the coordinator on port 7100 of the same machine.
const NAME: &str = "bank-a";
const LISTEN: &str = "127.0.0.1:7110";
const DATA_DIR: &str = "nemcon-data/bank-a";

/// The fields of [`Settings`], with the defaults of a bank.
#[must_use]
pub fn fields() -> Vec<Field> {
    Settings::fields(NAME, LISTEN, DATA_DIR)
}

#[cfg(test)]
mod tests {
    use nemcon_node::process::Program;
    use nemcon_node::settings::{Raw, command};

    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Settings, String> {
        let program = Program {
            name: "test",
            version: "1",
            about: "",
            examples: "",
        };
        let line = std::iter::once(&"test").chain(arguments);
        let matches = command(program, &fields())
            .try_get_matches_from(line)
            .unwrap();
        let raw = Raw::gather(fields(), &matches, &|_| None).unwrap();
        Settings::parse(&raw).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_those_of_the_first_bank() {
        let settings = parsed(&[]).unwrap();
        assert_eq!(settings.name.as_str(), "bank-a");
        assert_eq!(settings.node.listen, "127.0.0.1:7110".parse().unwrap());
        assert_eq!(settings.coordinators, ["http://127.0.0.1:7100"]);
    }

    #[test]
    fn coordinators_keep_their_order() {
        let (b, a) = ("http://127.0.0.1:2", "http://127.0.0.1:1");
        let settings = parsed(&["--coordinator", b, "--coordinator", a]).unwrap();
        assert_eq!(settings.coordinators, [b, a]);
    }

    #[test]
    fn another_bank_does_not_get_the_first_ones_books() {
        let error = parsed(&["--name", "bank-b"]).unwrap_err();
        assert_eq!(
            error,
            "data-dir is \"nemcon-data/bank-a\" (the default); want a directory of bank-b's own, \
             since this one is for the default name: give for example --data-dir \
             nemcon-data/bank-b"
        );
        assert!(parsed(&["--name", "bank-b", "--data-dir", "nemcon-data/bank-b"]).is_ok());
    }
}
