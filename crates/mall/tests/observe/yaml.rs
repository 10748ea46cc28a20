//! YAML as a JSON value: what these tests read is made of maps, lists and texts.

use saphyr_parser::{Event, Parser, StrInput};
use serde_json::{Map, Value};

/// Every scalar is a text.
pub(crate) fn parse(text: &str) -> Value {
    let mut events = Parser::new_from_str(text);
    loop {
        match next(&mut events) {
            Event::StreamStart | Event::DocumentStart(_) => {}
            event => return value(event, &mut events),
        }
    }
}

fn next<'a>(events: &mut Parser<'a, StrInput<'a>>) -> Event<'a> {
    events.next_event().unwrap().unwrap().0
}

fn value<'a>(event: Event<'a>, events: &mut Parser<'a, StrInput<'a>>) -> Value {
    match event {
        Event::Scalar(text, ..) => Value::String(text.into_owned()),
        Event::SequenceStart(..) => {
            let mut list = Vec::new();
            loop {
                match next(events) {
                    Event::SequenceEnd => return Value::Array(list),
                    event => list.push(value(event, events)),
                }
            }
        }
        Event::MappingStart(..) => {
            let mut map = Map::new();
            loop {
                match next(events) {
                    Event::MappingEnd => return Value::Object(map),
                    key => {
                        let key = value(key, events).as_str().unwrap().to_owned();
                        let event = next(events);
                        map.insert(key, value(event, events));
                    }
                }
            }
        }
        event => panic!("not read by these tests: {event:?}"),
    }
}
