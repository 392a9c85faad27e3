//! PURE: the report for a person, in columns as kubectl prints them.

use std::io::{self, Write};

use comfy_table::{Table, presets};

use super::colour::{Colours, Paint};
use super::{Mode, Report, Row, Summary, escape};
use crate::reconcile::{POOLS, RESERVATIONS};

/// How much of a record is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    Narrow,
    Wide,
}

pub(super) fn print(
    report: &Report<'_>,
    width: Width,
    colours: Colours,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let mut header = vec![
        "NAMESPACE",
        "KIND",
        "NAME",
        "ADDRESS",
        "POD",
        "VERDICT",
        "RESULT",
    ];
    if width == Width::Wide {
        header.extend(["INTERFACE", "CONTAINER", "REASON"]);
    }
    table.set_header(header);
    // One for each line: a cell has no line break.
    let mut paints = vec![Paint::Heading];
    for row in report.odd_rows() {
        paints.push(Paint::of(&row));
        table.add_row(cells(&row, width));
    }
    print_lines(table, &paints, colours, out)?;
    print_findings(report, width, colours, out)?;
    for remark in report.remarks() {
        writeln!(out, "{}", escape(&remark))?;
    }
    writeln!(out, "{}", sentence(report))
}

/// Prints a table, if it has any rows.
fn print_lines(
    mut table: Table,
    paints: &[Paint],
    colours: Colours,
    out: &mut dyn Write,
) -> io::Result<()> {
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
    }
    if table.row_count() > 0 {
        for (line, paint) in table.lines().zip(paints) {
            writeln!(out, "{}", colours.paint(*paint, line.trim_end()))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn print_findings(
    report: &Report<'_>,
    width: Width,
    colours: Colours,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let mut header = vec!["DANGER", "FINDING", "ADDRESS", "IN", "PODS", "REPAIR"];
    if width == Width::Wide {
        header.extend(["REASON", "YOU CAN"]);
    }
    table.set_header(header);
    let mut paints = vec![Paint::Heading];
    for row in report.findings() {
        paints.push(Paint::of_danger(row.danger));
        let or_dash = |text: &str| match text {
            "" => "-".to_owned(),
            text => escape(text).into_owned(),
        };
        let mut cells = vec![
            row.danger.to_string(),
            row.kind.to_owned(),
            or_dash(row.address.as_deref().unwrap_or_default()),
            or_dash(&format!("{}/{}", row.namespace, row.name)),
            or_dash(&row.pods.join(", ")),
            or_dash(row.repair.unwrap_or_default()),
        ];
        if width == Width::Wide {
            cells.extend([or_dash(&row.reason), row.advice.to_owned()]);
        }
        table.add_row(cells);
    }
    print_lines(table, &paints, colours, out)
}

fn cells(row: &Row<'_>, width: Width) -> Vec<String> {
    let or_dash = |text: Option<&str>| escape(text.unwrap_or("-")).into_owned();
    let name = match row.offset {
        Some(offset) => format!("{}/{}", escape(&row.name), escape(offset)),
        None => escape(&row.name).into_owned(),
    };
    let mut cells = vec![
        or_dash(Some(row.namespace)),
        row.kind.to_owned(),
        name,
        or_dash(row.address.as_deref()),
        or_dash(row.pod.as_deref()),
        row.verdict.to_owned(),
        or_dash(Some(row.result.unwrap_or("Kept"))),
    ];
    if width == Width::Wide {
        let container = row.container_id.as_deref();
        cells.extend([
            or_dash(row.interface),
            or_dash(container),
            or_dash(Some(&row.reason)),
        ]);
    }
    cells
}

/// The whole run in a few words.
fn sentence(report: &Report<'_>) -> String {
    let summary = report.summary();
    let Summary {
        pools,
        pods,
        allocations,
        reservations,
        orphans,
        ..
    } = summary;
    let mut text = format!(
        "{orphans} orphaned of {} records ({allocations} allocations in {pools} pools, \
         {reservations} reservations; {pods} pods).",
        allocations + reservations
    );
    let did = match (report.plan.refusal.is_some(), report.mode) {
        (true, _) => " Nothing was released: refused.".to_owned(),
        (false, Mode::DryRun) => " Nothing was released: dry run.".to_owned(),
        (false, Mode::Release) => {
            let Summary {
                released,
                already_gone,
                changed,
                kept_with_entry,
                failed,
                not_started,
                ..
            } = summary;
            let parts = [
                (released, "released"),
                (already_gone, "gone already"),
                (changed, "changed meanwhile"),
                (kept_with_entry, "kept with their entry"),
                (failed, "failed"),
                (not_started, "not started"),
            ];
            let said = parts
                .iter()
                .enumerate()
                .filter(|(at, (count, _))| *at == 0 || *count > 0);
            let said: Vec<_> = said
                .map(|(_, (count, what))| format!("{count} {what}"))
                .collect();
            format!(" {}.", said.join(", "))
        }
    };
    text.push_str(&did);
    text
}

/// One line for each orphan, as `resource/namespace/name[/offset]`, or as its key.
pub(super) fn print_names(report: &Report<'_>, out: &mut dyn Write) -> io::Result<()> {
    for row in report.odd_rows().filter(|row| row.result.is_some()) {
        if let Some(key) = &row.key {
            writeln!(out, "{}", escape(key))?;
            continue;
        }
        let resource = if row.offset.is_some() {
            POOLS
        } else {
            RESERVATIONS
        };
        write!(
            out,
            "{resource}/{}/{}",
            escape(row.namespace),
            escape(&row.name)
        )?;
        match row.offset {
            Some(offset) => writeln!(out, "/{}", escape(offset))?,
            None => writeln!(out)?,
        }
    }
    Ok(())
}
