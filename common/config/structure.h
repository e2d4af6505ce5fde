// Checks a document against the schema: unknown keys, wrong types, and whatever comes with a later
// release. Knows nothing of what the values mean.
#pragma once

#include "common/config/report.h"
#include "common/config/value.h"

namespace postern::config {

// Every value that a mistake was reported about is marked as refused.
void check_structure(Document& document, Report& report);

}  // namespace postern::config
