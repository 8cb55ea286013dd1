# SPDX-License-Identifier: Apache-2.0
#
# Debian's packages, made by "cpack -G DEB": libcouchstoreN (N is the version in the SONAME), libcouchstoreN-dbgsym,
# libcouchstore-dev and couchstore-tools. They have what the components have, and what Debian's policy asks for beside it.

if(NOT COUCHSTORE_SOVERSION)
  message(FATAL_ERROR "couchstore: packages of libraries are named after the version in the SONAME (COUCHSTORE_SOVERSION)")
endif()
find_program(couchstore_gzip gzip REQUIRED)
mark_as_advanced(couchstore_gzip)

set(couchstore_runtime_package libcouchstore${COUCHSTORE_SOVERSION})
set(couchstore_debug_package libcouchstore${COUCHSTORE_SOVERSION}-dbgsym)
set(couchstore_development_package libcouchstore-dev)
set(couchstore_tools_package couchstore-tools)

set(COUCHSTORE_DEBIAN_MAINTAINER "couchstore-rs packagers <couchstore-rs@packages.invalid>" CACHE STRING
  "Who made the packages: name and address")
set(COUCHSTORE_DEBIAN_REVISION 1 CACHE STRING "The revision of the packages, for the same version of the sources")
set(debian_version "${PROJECT_VERSION}-${COUCHSTORE_DEBIAN_REVISION}")

# ---- What Debian's policy asks for: copyright and changes of each package ----

# The same sources make the same packages: no other time than theirs.
set(debian_time "$ENV{SOURCE_DATE_EPOCH}")
if(NOT debian_time)
  execute_process(COMMAND git log -1 --format=%ct WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}"
    OUTPUT_VARIABLE debian_time OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
if(NOT debian_time)
  string(TIMESTAMP debian_time "%s")
endif()
execute_process(COMMAND "${CMAKE_COMMAND}" -E env LC_ALL=C date --utc "--date=@${debian_time}" "+%a, %d %b %Y %H:%M:%S +0000"
  OUTPUT_VARIABLE debian_date OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)

set(debian_files "${CMAKE_CURRENT_BINARY_DIR}/debian")
configure_file(packaging/changelog.in "${debian_files}/changelog.Debian" @ONLY)
configure_file(CHANGELOG.md "${debian_files}/changelog" COPYONLY)
configure_file(THIRD-PARTY-LICENSES "${debian_files}/THIRD-PARTY-LICENSES" COPYONLY)
foreach(file changelog.Debian changelog THIRD-PARTY-LICENSES)
  execute_process(COMMAND "${couchstore_gzip}" -9nf "${debian_files}/${file}" COMMAND_ERROR_IS_FATAL ANY)
endforeach()

set(debian_components runtime development)
if(NOT COUCHSTORE_INSTALL_DEBUG MATCHES "^(none|inside)$")
  list(APPEND debian_components debug)
endif()
if(COUCHSTORE_BUILD_TOOLS)
  list(APPEND debian_components tools)
endif()
foreach(component IN LISTS debian_components)
  set(files "${debian_files}/changelog.Debian.gz")
  if(NOT component STREQUAL "debug")
    list(APPEND files "${debian_files}/changelog.gz" "${debian_files}/THIRD-PARTY-LICENSES.gz")
  endif()
  install(FILES packaging/copyright ${files}
    DESTINATION "${CMAKE_INSTALL_DATADIR}/doc/${couchstore_${component}_package}"
    COMPONENT ${component})
endforeach()

# ---- The packages ----

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME couchstore-rs)
set(CPACK_PACKAGE_VERSION "${PROJECT_VERSION}")
set(CPACK_PACKAGE_CONTACT "${COUCHSTORE_DEBIAN_MAINTAINER}")
set(CPACK_PACKAGING_INSTALL_PREFIX "${CMAKE_INSTALL_PREFIX}")
set(CPACK_COMPONENTS_ALL ${debian_components})
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_GROUPING ONE_PER_GROUP)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE "${COUCHSTORE_DEBIAN_REVISION}")
set(CPACK_DEBIAN_PACKAGE_SOURCE couchstore-rs)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_STRIP_FILES OFF)

set(CPACK_POST_BUILD_SCRIPTS "${CMAKE_CURRENT_SOURCE_DIR}/cmake/debian_repack.cmake")
# Each package has a first line of its own, so there must be none for all: this is what CPack takes for none.
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "${CMAKE_PROJECT_NAME} built using CMake")

set(about "Documents in one append-only file: copy-on-write B+trees by id and
by sequence number, compressed nodes, checksums over every chunk. Reads and
writes the files of couchstore, the storage library of Couchbase's data
service, and has its C and C++ API.")

# debian_package(component section summary text): described by "about" and the text.
macro(debian_package component section summary text)
  string(TOUPPER ${component} upper)
  set(CPACK_DEBIAN_${upper}_PACKAGE_NAME ${couchstore_${component}_package})
  set(CPACK_DEBIAN_${upper}_PACKAGE_SECTION ${section})
  set(CPACK_DEBIAN_${upper}_DESCRIPTION "${summary}\n${about}\n\n${text}")
endmacro()

debian_package(runtime libs "append-only B+tree document storage (shared library)"
  "This package has the shared library.")
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SHLIBDEPS ON)
# New functions come with new versions: who was built with one needs it or a newer one.
configure_file(packaging/shlibs.in "${debian_files}/shlibs" @ONLY)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_CONTROL_EXTRA
  "${debian_files}/shlibs" "${CMAKE_CURRENT_SOURCE_DIR}/packaging/triggers")

set(same_version "${couchstore_runtime_package} (= ${debian_version})")
debian_package(debug debug "debug symbols for ${couchstore_runtime_package}"
  "This package has the names and lines of the shared library, for debuggers and\nprofilers.")
set(CPACK_DEBIAN_DEBUG_PACKAGE_DEPENDS "${same_version}")
set(CPACK_DEBIAN_DEBUG_PACKAGE_SHLIBDEPS OFF)

debian_package(development libdevel "append-only B+tree document storage (development files)"
  "This package has the headers, the static library, and the packages for CMake\nand pkg-config.")
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS "${same_version}")
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SHLIBDEPS OFF)

debian_package(tools database "tools for couchstore's database files"
  "This package has the tools that show, check, repair, compare and compact\nfiles.")
set(CPACK_DEBIAN_TOOLS_PACKAGE_SHLIBDEPS ON)

include(CPack)
