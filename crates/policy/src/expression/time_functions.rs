//! Time functions of expressions. A time is the number of whole seconds since 1970; its parts
//! depend on a time zone.
//!
//! The time types of the CEL library are left out. Those types build a table of all time zones at
//! every start, which takes more of an idle server's memory than anything else. Here a zone is
//! loaded when an expression names it.

use cel::{
    DeclarationError, Env, ExecutionError,
    common::{
        functions::Function,
        types::{CelInt, CelString, INT_TYPE, STRING_TYPE},
        value::CowVal,
    },
};
use jiff::{
    SignedDuration, Timestamp, Zoned,
    tz::{Offset, TimeZone},
};

/// A part of a time.
struct TimePart {
    name: &'static str,
    read: fn(&Zoned) -> i64,
    function: Function,
}

/// The parts of a time, as CEL counts them. Months, days of the month and days of the year start at
/// 0. Days of the week start at 0 on Sunday.
const TIME_PARTS: [TimePart; 9] = [
    TimePart {
        name: "getFullYear",
        read: |time| time.year().into(),
        function: read_part::<0>,
    },
    TimePart {
        name: "getMonth",
        read: |time| i64::from(time.month()) - 1,
        function: read_part::<1>,
    },
    TimePart {
        name: "getDate",
        read: |time| time.day().into(),
        function: read_part::<2>,
    },
    TimePart {
        name: "getDayOfMonth",
        read: |time| i64::from(time.day()) - 1,
        function: read_part::<3>,
    },
    TimePart {
        name: "getDayOfWeek",
        read: |time| time.weekday().to_sunday_zero_offset().into(),
        function: read_part::<4>,
    },
    TimePart {
        name: "getDayOfYear",
        read: |time| i64::from(time.day_of_year()) - 1,
        function: read_part::<5>,
    },
    TimePart {
        name: "getHours",
        read: |time| time.hour().into(),
        function: read_part::<6>,
    },
    TimePart {
        name: "getMinutes",
        read: |time| time.minute().into(),
        function: read_part::<7>,
    },
    TimePart {
        name: "getSeconds",
        read: |time| time.second().into(),
        function: read_part::<8>,
    },
];

/// Adds the functions that create times and read their parts.
///
/// # Errors
/// Returns an error if a function of the same name exists.
pub(super) fn add_time_functions(env: &mut Env) -> Result<(), DeclarationError> {
    env.add_overload(
        "timestamp",
        "timestamp_text",
        vec![STRING_TYPE],
        parse_timestamp,
    )?;
    env.add_overload("timestamp", "timestamp_seconds", vec![INT_TYPE], identity)?;
    env.add_overload(
        "duration",
        "duration_text",
        vec![STRING_TYPE],
        parse_duration,
    )?;
    for TimePart { name, function, .. } in TIME_PARTS {
        let id = |suffix: &str| format!("{name}_{suffix}");
        env.add_member_overload(name, &id("here"), INT_TYPE, vec![], function)?;
        env.add_member_overload(name, &id("there"), INT_TYPE, vec![STRING_TYPE], function)?;
    }
    Ok(())
}

fn parse_timestamp<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let time: Option<Timestamp> = as_text(args.first()).and_then(|text| text.parse().ok());
    time.map(|time| seconds_value(time.as_second()))
        .ok_or_else(|| invalid_argument("timestamp"))
}

fn parse_duration<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let length: Option<SignedDuration> = as_text(args.first()).and_then(|text| text.parse().ok());
    length
        .map(|length| seconds_value(length.as_secs()))
        .ok_or_else(|| invalid_argument("duration"))
}

fn identity<'b, 'v>(mut args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    args.pop().ok_or_else(|| invalid_argument("timestamp"))
}

fn read_part<'b, 'v, const WHICH: usize>(
    args: Vec<CowVal<'b, 'v>>,
) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let time = args.first().and_then(|time| time.downcast_ref::<CelInt>());
    let time = time.and_then(|time| Timestamp::from_second(*time.inner()).ok());
    let zone = match args.get(1) {
        None => Some(TimeZone::UTC),
        named => as_text(named).and_then(parse_time_zone),
    };
    match (time, zone, TIME_PARTS.get(WHICH)) {
        (Some(time), Some(zone), Some(part)) => {
            Ok(seconds_value((part.read)(&time.to_zoned(zone))))
        }
        _ => Err(invalid_argument("time")),
    }
}

/// Parses a time zone such as `Europe/Berlin`, or a UTC offset such as `+05:30`.
fn parse_time_zone(name: &str) -> Option<TimeZone> {
    let Some((hours, minutes)) = name.split_once(':') else {
        return TimeZone::get(name).ok();
    };
    let hours_away = hours.parse::<i32>().ok()?;
    let minutes = minutes.parse::<i32>().ok()?;
    if !(-23..=23).contains(&hours_away) || !(0..=59).contains(&minutes) {
        return None;
    }
    let minutes = if hours.starts_with('-') {
        -minutes
    } else {
        minutes
    };
    Offset::from_seconds(hours_away * 3600 + minutes * 60)
        .ok()
        .map(TimeZone::fixed)
}

fn as_text<'a>(arg: Option<&'a CowVal<'_, '_>>) -> Option<&'a str> {
    arg?.downcast_ref::<CelString<'_>>().map(CelString::inner)
}

fn seconds_value<'b, 'v>(count: i64) -> CowVal<'b, 'v> {
    CowVal::owned(CelInt::from(count))
}

fn invalid_argument(what: &str) -> ExecutionError {
    // The message leaves out the value, which may be secret.
    ExecutionError::function_error(what, "it takes another value")
}
