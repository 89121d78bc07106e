//! One macro that writes an event to `log` and `tracing`.
//!
//! Without these features the arguments are type-checked and never evaluated.

/// Logs an event: `event!(Warn, "{n} of them")`, or `event!(Warn, { worker: 3 }, "{} of them", n)`. `tracing`
/// gets fields; `log` gets ` worker=3` after the text.
macro_rules! event {
    ($level:ident, { $($name:ident: $value:expr),+ }, $text:literal $(, $argument:expr)*) => {{
        #[cfg(feature = "log")]
        ::log::log!(
            ::log::Level::$level,
            concat!($text, $(" ", stringify!($name), "={}"),+) $(, $argument)* $(, $value)+
        );
        #[cfg(feature = "tracing")]
        ::tracing::event!($crate::log::level!($level), $($name = %$value,)+ $text $(, $argument)*);
        #[cfg(not(any(feature = "log", feature = "tracing")))]
        if false {
            let _ = (format_args!($text $(, $argument)*) $(, format_args!("{}", $value))+);
        }
    }};
    ($level:ident, $($argument:tt)+) => {{
        #[cfg(feature = "log")]
        ::log::log!(::log::Level::$level, $($argument)+);
        #[cfg(feature = "tracing")]
        ::tracing::event!($crate::log::level!($level), $($argument)+);
        #[cfg(not(any(feature = "log", feature = "tracing")))]
        if false {
            let _ = format_args!($($argument)+);
        }
    }};
}
pub(crate) use event;

/// Warns about a fault of the program: an event, and in builds with debug assertions a line on standard error if
/// there are no events.
macro_rules! warning {
    ($($argument:tt)+) => {{
        $crate::log::event!(Warn, $($argument)+);
        if cfg!(all(debug_assertions, not(any(feature = "log", feature = "tracing")))) {
            $crate::log::write_line(format_args!($($argument)+));
        }
    }};
}
pub(crate) use warning;

/// Writes a line to standard error. If that is closed, the line is dropped.
#[cold]
pub(crate) fn write_line(text: std::fmt::Arguments<'_>) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "peregrine: {text}");
}

/// The two crates spell the same levels differently.
#[cfg(feature = "tracing")]
macro_rules! level {
    (Error) => {
        ::tracing::Level::ERROR
    };
    (Warn) => {
        ::tracing::Level::WARN
    };
    (Info) => {
        ::tracing::Level::INFO
    };
    (Debug) => {
        ::tracing::Level::DEBUG
    };
}
#[cfg(feature = "tracing")]
pub(crate) use level;
