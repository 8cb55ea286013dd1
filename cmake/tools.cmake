# SPDX-License-Identifier: Apache-2.0
#
# Builds the command-line tools with cargo and installs them, with completions for shells and manual pages, as the
# component "tools".
#
# They are one program written in Rust, "couch", and a link to it for each tool, whose name says what it does. It holds
# the library and needs neither libcouchstore.so nor headers.

set(couchstore_tools
  couch_bench couch_check couch_compact couch_create couch_dbck couch_dbdiff couch_dbdump couch_dbinfo couch_map
  couch_recommit dbdiff)

set(tools_dir "${couchstore_rust_dir}/tools")
set(tool_program "${tools_dir}/couch")
couchstore_cargo_build(
  FOLDER "${tools_dir}"
  FILES couch
  ARGUMENTS build ${cargo_common_options} --package couchstore-tools --bin couch
  DEPENDS Cargo.toml Cargo.lock tools/Cargo.toml
  COMMENT "Building the tools")

list(TRANSFORM couchstore_tools PREPEND "${tools_dir}/" OUTPUT_VARIABLE tool_links)
list(TRANSFORM tool_links PREPEND "COMMAND;${CMAKE_COMMAND};-E;create_symlink;couch;" OUTPUT_VARIABLE make_links)
add_custom_command(OUTPUT ${tool_links} ${make_links} DEPENDS "${tool_program}" VERBATIM)

# Completion scripts and manual pages are printed by the program itself. If it is for another platform it cannot run
# here, and there are none.
set(tool_completions_dir "${CMAKE_INSTALL_DATADIR}")
set(tool_files_dir "${couchstore_rust_dir}/tool_files")
list(JOIN couchstore_tools "|" tools_joined)
set(tool_files_made "${tool_files_dir}/made")
add_custom_command(
  OUTPUT "${tool_files_made}"
  COMMAND "${CMAKE_COMMAND}" "-DPROGRAM=${tool_program}" "-DTOOLS=${tools_joined}" "-DFOLDER=${tool_files_dir}"
          "-DGZIP=${couchstore_gzip}" -P "${CMAKE_CURRENT_SOURCE_DIR}/cmake/tool_files.cmake"
  DEPENDS "${tool_program}" ${tool_links} "${CMAKE_CURRENT_SOURCE_DIR}/cmake/tool_files.cmake"
  COMMENT "Writing completion scripts and manual pages"
  VERBATIM)
foreach(place bash-completion/completions zsh/site-functions fish/vendor_completions.d)
  install(DIRECTORY "${tool_files_dir}/${place}/" DESTINATION "${tool_completions_dir}/${place}" COMPONENT tools)
endforeach()
install(DIRECTORY "${tool_files_dir}/man1/" DESTINATION "${CMAKE_INSTALL_MANDIR}/man1" COMPONENT tools)
add_custom_target(couchstore_tools ALL DEPENDS "${tool_program}" ${tool_links} "${tool_files_made}")

install(PROGRAMS "${tool_program}" DESTINATION "${CMAKE_INSTALL_BINDIR}" COMPONENT tools)
# Links stay links.
install(FILES ${tool_links} DESTINATION "${CMAKE_INSTALL_BINDIR}" COMPONENT tools)
configure_file(cmake/Couchstore-tools.cmake.in Couchstore-tools.cmake @ONLY)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/Couchstore-tools.cmake"
  DESTINATION "${couchstore_package_dir}"
  COMPONENT tools)
