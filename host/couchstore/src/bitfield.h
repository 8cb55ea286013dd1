// SPDX-License-Identifier: Apache-2.0
//
// The integers of files; the header's older name.
#pragma once

#include "node_types.h"
