use rdkafka::admin::OwnedResourceSpecifier;

use super::*;

#[test]
fn settings_that_a_user_may_not_see_are_not_safe_and_the_missing_right_is_named() {
    let specifier = OwnedResourceSpecifier::Topic("telex.messages".to_owned());
    let hidden = ConfigResource { specifier, entries: Vec::new() };
    for profile in [TopicProfile::Production, TopicProfile::Development] {
        let problems = problems(&hidden, 3, profile);
        assert!(matches!(&problems.0[..], [one] if one.contains("DescribeConfigs")), "{problems:?}");
    }
}
