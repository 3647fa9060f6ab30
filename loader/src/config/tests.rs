extern crate std;

use super::*;
use hermit_entry::config as reference;
use proptest::prelude::*;
use std::format;
use std::string::String;
use std::vec;
use std::vec::Vec;

type Values = Vec<String>;

/// Everything that a configuration says.
#[derive(Debug, PartialEq, Eq)]
struct All {
    kernel: String,
    kernel_args: Values,
    app_args: Values,
    env_vars: Values,
    memory: u64,
    cpus: u64,
}

fn read(text: &str) -> Result<All, &'static str> {
    let mut memory = vec![0; memory_for(text.len())];
    let config = Config::parse(text, &mut memory)?;
    let values = |field| {
        let values = config.values(field);
        values.map(|value| String::from_utf8(value.to_vec()).unwrap()).collect()
    };
    Ok(All {
        kernel: String::from_utf8(config.kernel().to_vec()).unwrap(),
        kernel_args: values(Field::KernelArgs),
        app_args: values(Field::AppArgs),
        env_vars: values(Field::EnvVars),
        memory: config.memory,
        cpus: config.cpus,
    })
}

/// What Hermit's own parser makes of it.
fn expected(text: &str) -> Option<All> {
    let reference::Config::V1 { input, requirements, kernel } = ::toml::from_str(text).ok()?;
    let own = |values: Vec<_>| values.into_iter().map(std::borrow::Cow::into_owned).collect();
    Some(All {
        kernel: kernel.into_owned(),
        kernel_args: own(input.kernel_args),
        app_args: own(input.app_args),
        env_vars: own(input.env_vars),
        memory: requirements.memory.map_or(0, |memory| memory.as_u64()),
        cpus: requirements.cpus.into(),
    })
}

const PLAIN: &str = r#"
# An image.
version = "1"
kernel = "boot/kernel.elf"

[input]
kernel_args = []
app_args = ["--name", "two words", 'a\b', """multi
line""", "\u00e9\t\"",] # a comma at the end
env_vars = [
    "A=1", # with a comment
    "B=2",
]

[requirements]
memory = "64 MiB"
cpus = 2
"#;

#[test]
fn a_configuration_is_read() {
    let all = read(PLAIN).unwrap();
    assert_eq!(Some(&all), expected(PLAIN).as_ref());
    assert_eq!(all.kernel, "boot/kernel.elf");
    assert_eq!(all.app_args[1..], ["two words", "a\\b", "multi\nline", "é\t\""]);
    assert_eq!((all.memory, all.cpus), (64 << 20, 2));
}

#[test]
fn every_form_of_toml_is_read() {
    for text in [
        "version = '1'\nkernel = 'k'\ninput = { kernel_args = ['a'], app_args = [] }",
        "version = '1'\nkernel = 'k'\ninput.kernel_args = ['a']\ninput.app_args = ['b', 'c']",
        "version = '1'\n\"kernel\" = 'k'\n[\"input\"]\n'kernel_args' = ['a']\napp_args = []",
        "kernel = 'k'\nversion = '1'\n[requirements]\ncpus = 0x10\n[input]\napp_args = []\nkernel_args = []",
        "kernel = 'k'\nversion = '1'\nrequirements.memory = '1000000'\n[input]\napp_args = []\nkernel_args = []",
        "kernel = 'k'\nversion = '1'\n[input]\napp_args = []\nkernel_args = []\n[requirements]\nmemory = '1.5 KB'",
        // What has no meaning is left out, wherever it is.
        "x = { kernel = 'x', a = [{ version = 3 }, 2] }\nkernel = 'k'\nversion = '1'\n[other]\nkernel = 'y'\n\
         [input]\napp_args = []\nkernel_args = []\nmore = 1\n[[list]]\nkernel = 'z'\n[input.deep]\napp_args = ['n']",
        "a-key-that-is-longer-than-all-keys-with-a-meaning = [[1], [2.5, 1979-05-27]]\nkernel = 'k'\n\
         version = '1'\n[input]\napp_args = []\nkernel_args = []",
    ] {
        assert_eq!(Some(read(text).unwrap()), expected(text), "{text}");
    }
}

#[test]
fn wrong_configurations_are_refused() {
    for (old, new, why) in [
        ("version = \"1\"", "version = \"2\"", "the only one"),
        ("version = \"1\"", "version = 1", "wrong type"),
        ("version = \"1\"", "", "lacks `version`"),
        ("kernel = \"boot/kernel.elf\"", "", "lacks `kernel`"),
        ("kernel_args = []", "", "lacks `kernel_args`"),
        ("kernel_args = []", "kernel_args = 'a'", "wrong type"),
        ("kernel_args = []", "kernel_args = [1]", "wrong type"),
        ("kernel_args = []", "kernel_args = [['a']]", "wrong type"),
        ("kernel_args = []", "kernel_args = {}", "wrong type"),
        ("kernel_args = []", "kernel_args = []\nkernel_args = []", "twice"),
        ("kernel_args = []", "kernel_args = [", "not valid TOML"),
        ("cpus = 2", "cpus = -2", "wrong type"),
        ("cpus = 2", "cpus = '2'", "wrong type"),
        ("64 MiB", "many", "no size"),
        ("\"64 MiB\"", "64_000_000", "wrong type"),
        ("cpus = 2", "cpus = 2 3", "not valid TOML"),
        ("# An image.", "\u{7}", "not valid TOML"),
    ] {
        let text = PLAIN.replacen(old, new, 1);
        let found = read(&text).unwrap_err();
        assert!(found.contains(why), "{new}: {found}");
        assert_eq!(expected(&text), None, "{text}");
    }
}

#[test]
fn nesting_ends() {
    for text in [
        "a = ".to_owned() + &"[".repeat(10_000),
        "a = ".to_owned() + &"{a=".repeat(10_000),
        "[".to_owned() + &"a.".repeat(10_000) + "a]",
    ] {
        assert!(read(&text).is_err());
    }
}

use std::borrow::ToOwned;

#[test]
fn sizes_have_units_of_bytes() {
    for (text, bytes) in [
        ("0", Some(0)),
        ("12 B", Some(12)),
        ("64MiB", Some(64 << 20)),
        ("64 Mi", Some(64 << 20)),
        ("2 GB", Some(2_000_000_000)),
        ("1.5k", Some(1500)),
        ("1.2.3 M", None),
        ("", None),
        ("MiB", None),
        ("1 Mib", None),
        ("1 Bi", None),
        ("1 X", None),
        ("16 EiB", None),
        ("99999999999999999999", None),
        ("-1", None),
    ] {
        assert_eq!(size(text.as_bytes()), bytes, "{text}");
    }
}

proptest! {
    /// Values that Hermit's tools would write come out as Hermit's own parser reads them.
    #[test]
    fn agrees_with_hermit_s_own_parser(
        kernel in any::<String>(),
        lists in prop::array::uniform3(prop::collection::vec(any::<String>(), 0..4)),
        memory in any::<Option<u32>>(),
        cpus in any::<u32>(),
    ) {
        let mut requirements = ::toml::Table::new();
        if let Some(memory) = memory {
            requirements.insert("memory".into(), format!("{memory}").into());
        }
        requirements.insert("cpus".into(), i64::from(cpus).into());
        let [kernel_args, app_args, env_vars] = lists.map(::toml::Value::from);
        let input: ::toml::Table = [("kernel_args", kernel_args), ("app_args", app_args), ("env_vars", env_vars)]
            .map(|(key, value)| (key.into(), value)).into_iter().collect();
        let mut table = ::toml::Table::new();
        table.insert("version".into(), "1".into());
        table.insert("kernel".into(), kernel.into());
        table.insert("input".into(), input.into());
        table.insert("requirements".into(), requirements.into());
        let text = ::toml::to_string(&table).unwrap();
        prop_assert_eq!(Some(read(&text).unwrap()), expected(&text));
    }

    /// Whatever is cut or put in: what is read is what Hermit's own parser reads, and nothing panics.
    #[test]
    fn changed_configurations_are_read_alike_or_refused(
        start in 0_usize..300, length in 0_usize..40, new in "[a-z=\"'\\[\\]{}.,# \n0-9]{0,8}",
    ) {
        let mut text = PLAIN.to_owned();
        let start = text.floor_char_boundary(start);
        let end = text.floor_char_boundary((start + length).min(text.len())).max(start);
        text.replace_range(start..end, &new);
        if let (Ok(all), Some(expected)) = (read(&text), expected(&text)) {
            prop_assert_eq!(all, expected);
        }
    }
}
