//! What a run costs by the size of the cluster, as a picture.

use std::fmt::Write as _;

use crate::reconcile::Point;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
const MARGIN: f64 = 56.0;

/// A name, a colour, what the top means, and the figure.
type Line = (&'static str, &'static str, f64, fn(&Point) -> f64);

/// Draws seconds of the run and of the floor, and the memory of the run, over pods.
pub(crate) fn svg(points: &[Point]) -> String {
    let most = |figure: fn(&Point) -> f64| points.iter().map(figure).fold(1e-9, f64::max);
    let pods = most(|point| point.pods.into());
    let seconds = most(|point| point.wall.max(point.floor)) * 1.1;
    let memory = most(|point| point.resident) * 1.1;
    let mut text = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">
<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>
<text x="{MARGIN}" y="20" font-size="14">A run of ip-reconciler without orphans, by pods in the cluster</text>
"##
    );
    let x = |point: &Point| MARGIN + f64::from(point.pods) / pods * (WIDTH - 2.0 * MARGIN);
    let y = |share: f64| HEIGHT - MARGIN - share * (HEIGHT - 2.0 * MARGIN);
    let bottom = y(0.0);
    for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let (at, right) = (y(share), WIDTH - MARGIN);
        let (left_label, right_label) = (share * seconds, share * memory);
        let _ = writeln!(
            text,
            r##"<path d="M{MARGIN} {at}H{right}" stroke="#ddd"/><text x="{}" y="{}" text-anchor="end">{left_label:.1} s</text><text x="{}" y="{}">{right_label:.0} MiB</text>"##,
            MARGIN - 6.0,
            at + 4.0,
            right + 6.0,
            at + 4.0
        );
    }
    for point in points {
        let (at, below) = (x(point), bottom + 18.0);
        let _ = writeln!(
            text,
            r#"<text x="{at}" y="{below}" text-anchor="middle">{}</text>"#,
            point.pods
        );
    }
    let lines: [Line; 3] = [
        ("run, seconds", "#1f5fbf", seconds, |point| point.wall),
        ("floor, seconds", "#888", seconds, |point| point.floor),
        ("run, resident memory", "#c25b12", memory, |point| {
            point.resident
        }),
    ];
    for (number, (name, colour, scale, figure)) in (0..).zip(lines) {
        let places = points
            .iter()
            .map(|point| (x(point), y(figure(point) / scale)));
        let path: Vec<String> = places
            .clone()
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        let _ = writeln!(
            text,
            r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2"/>"#,
            path.join(" ")
        );
        for (x, y) in places {
            let _ = writeln!(
                text,
                r#"<circle cx="{x:.1}" cy="{y:.1}" r="3" fill="{colour}"/>"#
            );
        }
        let at = MARGIN + 150.0 * f64::from(number);
        let _ = writeln!(
            text,
            r#"<text x="{at}" y="{}" fill="{colour}">{name}</text>"#,
            HEIGHT - 12.0
        );
    }
    text.push_str("</svg>\n");
    text
}
