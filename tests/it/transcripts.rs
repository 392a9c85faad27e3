//! What the program prints, word for word: `tests/cmd`.

#[test]
fn transcripts_are_what_the_program_prints() {
    trycmd::TestCases::new()
        .env("IP_RECONCILER_LOG_LEVEL", "off")
        .case("tests/cmd/*.trycmd");
}
