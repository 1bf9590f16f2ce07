use super::{Kind, Setting};

/// A table of settings in Markdown, for the generated reference.
pub fn reference(settings: &[Setting]) -> String {
    let mut page = String::from("| name | value | default | |\n|---|---|---|---|\n");
    for setting in settings {
        let kind = match &setting.kind {
            Kind::Choice(words) => words.join(", "),
            kind => kind.to_string(),
        };
        let default = setting
            .default
            .map_or("–".to_owned(), |default| format!("`{default}`"));
        let mut help = setting.help.to_owned();
        for (mark, holds) in [("Required.", setting.required), ("Secret.", setting.secret)] {
            if holds {
                help.push(' ');
                help.push_str(mark);
            }
        }
        page.push_str(&format!(
            "| `{}` | {kind} | {default} | {help} |\n",
            setting.name
        ));
    }
    page
}
