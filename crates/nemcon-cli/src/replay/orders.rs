//! The file of orders.
//!
//! Lines are read one by one, and a bad one does not spoil the others: it is
//! reported with its number. What a bank would refuse (an amount of nothing) is
//! not this file's business; what no bank could be asked is.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead};

use nemcon_core::id::ParticipantName;
use nemcon_ledger::name::{AccountName, Reference};

use crate::money::Minor;
use crate::path::AccountPath;

/// The columns that are used. A file may have others, in any order.
const COLUMNS: [&str; 5] = ["order_id", "account_id", "bank_to", "account_to", "amount"];

/// Longest line; a longer one is no order. Bounds what is held of a file that is
/// something else altogether.
const LINE_BYTES_MAX: usize = 4_096;

/// One order to pay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Order {
    /// The line it stands on.
    pub(super) line: usize,
    /// Its id, which becomes the reference of its payment.
    pub(super) id: Reference,
    /// The paying account, at the home bank.
    pub(super) from: AccountName,
    /// The receiving account.
    pub(super) to: AccountPath,
    /// How much.
    pub(super) amount: Minor,
}

/// What is in a file.
#[derive(Debug)]
pub(super) struct Orders {
    /// The orders, in the order of the file.
    pub(super) orders: Vec<Order>,
    /// The lines that are none.
    pub(super) malformed: Vec<Malformed>,
}

/// A line that is no order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    /// Its number; the header is line 1.
    line: usize,
    why: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} is left out: {}", self.line, self.why)
    }
}

/// Why a file is not read at all.
#[derive(Debug)]
pub(super) enum FileError {
    /// The operating system refused.
    Io(io::Error),
    /// The first line does not name the columns.
    Header(String),
}

/// Where the columns stand in a line.
struct Header([usize; COLUMNS.len()]);

/// Reads all of a file. `home` is the bank of the paying accounts.
pub(super) fn read(mut file: impl BufRead, home: &ParticipantName) -> Result<Orders, FileError> {
    let mut lines = Lines::new(&mut file);
    let header = lines.next().map_err(FileError::Io)?.unwrap_or_default();
    let header = Header::parse(&String::from_utf8_lossy(header))?;
    let mut orders = Orders {
        orders: Vec::new(),
        malformed: Vec::new(),
    };
    // Where the order of each id is among those read.
    let mut seen: BTreeMap<Reference, usize> = BTreeMap::new();
    while let Some(bytes) = lines.next().map_err(FileError::Io)? {
        let read = parse(bytes, &header, home);
        let line = lines.number;
        let order = match read {
            Ok(Some(order)) => Order { line, ..order },
            Ok(None) => continue,
            Err(why) => {
                orders.malformed.push(Malformed { line, why });
                continue;
            }
        };
        let first = *seen.entry(order.id.clone()).or_insert(orders.orders.len());
        match orders
            .orders
            .get(first)
            .filter(|first| !order.repeats(first))
        {
            Some(first) => {
                let (id, first) = (&order.id, first.line);
                let why = format!("order id {id} stands for another order on line {first}");
                orders.malformed.push(Malformed { line, why });
            }
            None => orders.orders.push(order),
        }
    }
    Ok(orders)
}

impl Order {
    /// Whether it is the same order once more. It is paid once, by its reference.
    /// Another order under the same id would be taken for paid although it is not.
    fn repeats(&self, first: &Self) -> bool {
        let line = first.line;
        *first
            == Self {
                line,
                ..self.clone()
            }
    }
}

impl Header {
    /// Finds the columns by their names.
    fn parse(line: &str) -> Result<Self, FileError> {
        // A byte-order mark is what some spreadsheets start a file with.
        let line = line.trim_start_matches('\u{feff}');
        let names: Vec<&str> = line.split('\t').map(str::trim).collect();
        let mut places = [0; COLUMNS.len()];
        for (place, column) in places.iter_mut().zip(COLUMNS) {
            let found = names.iter().position(|name| *name == column);
            *place = found.ok_or_else(|| {
                FileError::Header(format!(
                    "line 1 has no column {column}; want a tab-separated header with {}",
                    COLUMNS.join(", ")
                ))
            })?;
        }
        Ok(Self(places))
    }
}

/// Reads one line; `None` for a blank one.
fn parse(bytes: &[u8], header: &Header, home: &ParticipantName) -> Result<Option<Order>, String> {
    if bytes.len() > LINE_BYTES_MAX {
        return Err(format!("it is longer than {LINE_BYTES_MAX} bytes"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())?;
    if text.trim().is_empty() {
        return Ok(None);
    }
    let fields: Vec<&str> = text.split('\t').map(str::trim).collect();
    let mut columns = COLUMNS.iter().zip(header.0);
    let mut field = || {
        let (name, place) = columns.next().unwrap_or((&"", usize::MAX));
        match fields.get(place) {
            Some(field) if !field.is_empty() => Ok(*field),
            Some(_) => Err(format!("{name} is empty")),
            None => Err(format!("{name} is missing: it has {} fields", fields.len())),
        }
    };
    let id = field()?
        .parse()
        .map_err(|error| format!("order_id: {error}"))?;
    let from: AccountName = field()?
        .parse()
        .map_err(|error| format!("account_id: {error}"))?;
    let bank = field()?
        .parse()
        .map_err(|error| format!("bank_to: {error}"))?;
    let account = field()?
        .parse()
        .map_err(|error| format!("account_to: {error}"))?;
    let amount = field()?
        .parse()
        .map_err(|error| format!("amount: {error}"))?;
    let to = AccountPath { bank, account };
    // Its deposit would find the reference used by its own withdrawal, and the
    // order would be taken for paid.
    if to.bank == *home && to.account == from {
        return Err(format!("account {to} pays itself"));
    }
    Ok(Some(Order {
        line: 0,
        id,
        from,
        to,
        amount,
    }))
}

/// Lines of a file, with their numbers.
struct Lines<'a, R> {
    file: &'a mut R,
    line: Vec<u8>,
    number: usize,
}

impl<'a, R: BufRead> Lines<'a, R> {
    /// The lines from where the file stands.
    fn new(file: &'a mut R) -> Self {
        Self {
            file,
            line: Vec::new(),
            number: 0,
        }
    }

    /// The next line without its end; of one that is too long, only so much that
    /// this can be seen.
    fn next(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        let mut any = false;
        loop {
            let buffer = self.file.fill_buf()?;
            if buffer.is_empty() {
                break;
            }
            any = true;
            let end = buffer.iter().position(|byte| *byte == b'\n');
            let part = end.map_or(buffer, |end| &buffer[..end]);
            let room = (LINE_BYTES_MAX + 1).saturating_sub(self.line.len());
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            let used = end.map_or(buffer.len(), |end| end + 1);
            self.file.consume(used);
            if end.is_some() {
                break;
            }
        }
        self.number += usize::from(any);
        Ok(any.then_some(self.line.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "order_id\taccount_id\tbank_to\taccount_to\tamount\tk_symbol\n";

    fn orders(lines: &str) -> Orders {
        let home = "home".parse().unwrap();
        read(format!("{HEADER}{lines}").as_bytes(), &home).unwrap()
    }

    fn order(line: usize, id: &str, from: &str, to: &str, minor: i64) -> Order {
        Order {
            line,
            id: id.parse().unwrap(),
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            amount: Minor(minor),
        }
    }

    #[test]
    fn orders_are_read_with_all_their_oddities() {
        let found = orders(
            "29401\t1\tYZ\t87144583\t2452.00\tSIPO\n\
             29402\t2\tST\t89597016\t.80\t\n\
             29403\t2\tQR\t13943797\t7266.5\tUVER   \n\
             29404 \t3\tWX\t83084338\t1135\t   \r\n\
             \n\
             29405\t3\tCD\t1\t327.00",
        );
        assert_eq!(found.malformed, []);
        let expected = [
            order(2, "29401", "1", "YZ/87144583", 245_200),
            order(3, "29402", "2", "ST/89597016", 80),
            order(4, "29403", "2", "QR/13943797", 726_650),
            order(5, "29404", "3", "WX/83084338", 113_500),
            order(7, "29405", "3", "CD/1", 32_700),
        ];
        assert_eq!(found.orders, expected);
    }

    #[test]
    fn a_malformed_line_is_named_and_the_rest_goes_on() {
        let found = orders(
            "1\t1\tYZ\t5\t1,50\t\n\
             2\t1\tYZ\t5\n\
             3\t1\tYZ\t5\t1.00\t\n\
             4\t1\t\t5\t1.00\t\n\
             5\t1\tY Z\t5\t1.00\t\n\
             6\t1\thome\t1\t1.00\t\n\
             \t1\tYZ\t5\t1.00\t\n\
             8\tä\tYZ\t5\t1.00\t\n",
        );
        assert_eq!(found.orders, [order(4, "3", "1", "YZ/5", 100)]);
        let told: Vec<String> = found.malformed.iter().map(ToString::to_string).collect();
        for (told, expected) in told.iter().zip([
            "line 2 is left out: amount: \"1,50\" is no amount",
            "line 3 is left out: amount is missing: it has 4 fields",
            "line 5 is left out: bank_to is empty",
            "line 6 is left out: bank_to: participant name \"Y Z\"",
            "line 7 is left out: account home/1 pays itself",
            "line 8 is left out: order_id is empty",
            "line 9 is left out: account_id: account name \"ä\"",
        ]) {
            assert!(told.starts_with(expected), "{told}");
        }
        assert_eq!(told.len(), 7);
    }

    #[test]
    fn the_same_order_twice_is_an_order_and_another_under_its_id_is_not() {
        let found = orders("1\t1\tYZ\t5\t1.00\t\n1\t1\tYZ\t5\t1.0\t\n1\t1\tYZ\t5\t2.00\t\n");
        assert_eq!(
            found.orders,
            [
                order(2, "1", "1", "YZ/5", 100),
                order(3, "1", "1", "YZ/5", 100)
            ]
        );
        assert_eq!(
            found.malformed[0].to_string(),
            "line 4 is left out: order id 1 stands for another order on line 2"
        );
    }

    #[test]
    fn columns_are_found_by_their_names() {
        let text = "\u{feff}amount\tbank_to\taccount_to\torder_id\taccount_id\n1.00\tYZ\t5\t7\t1\n";
        let found = read(text.as_bytes(), &"home".parse().unwrap()).unwrap();
        assert_eq!(found.orders, [order(2, "7", "1", "YZ/5", 100)]);
    }

    #[test]
    fn a_file_without_the_columns_is_refused() {
        for text in ["", "1\t1\tYZ\t5\t1.00\n", "order_id,account_id\n"] {
            match read(text.as_bytes(), &"home".parse().unwrap()) {
                Err(FileError::Header(what)) => assert!(what.contains("no column"), "{what}"),
                other => panic!("{text:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_is_not_text_or_too_long_is_a_malformed_line() {
        let mut bytes = HEADER.as_bytes().to_vec();
        bytes.extend(b"1\t1\tYZ\t5\t\xff\n");
        bytes.extend(vec![b'x'; LINE_BYTES_MAX * 3]);
        bytes.extend(b"\n3\t1\tYZ\t5\t1.00\n");
        // A small buffer, so that a line spans several.
        let reader = io::BufReader::with_capacity(16, bytes.as_slice());
        let found = read(reader, &"home".parse().unwrap()).unwrap();
        let told: Vec<String> = found.malformed.iter().map(ToString::to_string).collect();
        assert_eq!(told[0], "line 2 is left out: it is not UTF-8 text");
        assert_eq!(told[1], "line 3 is left out: it is longer than 4096 bytes");
        assert_eq!(found.orders.len(), 1);
    }
}
