# Builds the command-line tools with cargo and installs them, with completions for shells, as the component "tools".
#
# They are one program written in Rust, "couch", and a link to it for each tool, whose name says what it does. It holds
# the library and needs neither libcouchstore.so nor headers.
#
# From rust.cmake: COUCHSTORE_CARGO, cargo_common_options (which may contain generator expressions), cargo_target_dir.

set(couchstore_tools couch_bench couch_check couch_compact couch_create couch_dbck couch_dbdump couch_dbinfo couch_map)

# Where cargo puts the program depends on the user's settings; a copy, with the links beside it, is always here.
set(tools_dir "${CMAKE_CURRENT_BINARY_DIR}/tools")
if(couchstore_multi_config)
  string(APPEND tools_dir "/$<CONFIG>")
endif()
set(tool_program "${tools_dir}/couch")
list(TRANSFORM couchstore_tools PREPEND "${tools_dir}/" OUTPUT_VARIABLE tool_links)

set(build_tools "${CMAKE_CURRENT_SOURCE_DIR}/cmake/build_tools.cmake")
list(JOIN couchstore_tools "|" tools_joined)
list(JOIN cargo_common_options "|" options_joined)
add_custom_command(
  OUTPUT "${tool_program}"
  BYPRODUCTS ${tool_links}
  COMMAND "${CMAKE_COMMAND}" "-DCARGO=${COUCHSTORE_CARGO}" "-DOPTIONS=${options_joined}"
          "-DSOURCE=${CMAKE_CURRENT_SOURCE_DIR}" "-DTARGET_DIR=${cargo_target_dir}"
          "-DPROGRAM=${tool_program}" "-DLINKS=${tools_joined}" -P "${build_tools}"
  DEPENDS "${build_tools}" "${CMAKE_CURRENT_SOURCE_DIR}/Cargo.toml" "${CMAKE_CURRENT_SOURCE_DIR}/Cargo.lock"
          "${CMAKE_CURRENT_SOURCE_DIR}/tools/Cargo.toml"
  DEPFILE "${tool_program}.d"
  COMMENT "Building the tools"
  USES_TERMINAL
  VERBATIM)

# Completion scripts are printed by the program itself. If it is for another platform it cannot run here, and there are
# none.
set(tool_completions_dir "${CMAKE_INSTALL_DATADIR}")
set(completions_dir "${tools_dir}/completions")
set(completions_made "${completions_dir}/made")
add_custom_command(
  OUTPUT "${completions_made}"
  COMMAND "${CMAKE_COMMAND}" "-DPROGRAM=${tool_program}" "-DTOOLS=${tools_joined}" "-DFOLDER=${completions_dir}"
          -P "${CMAKE_CURRENT_SOURCE_DIR}/cmake/completions.cmake"
  DEPENDS "${tool_program}" "${CMAKE_CURRENT_SOURCE_DIR}/cmake/completions.cmake"
  COMMENT "Writing completion scripts"
  VERBATIM)
foreach(place bash-completion/completions zsh/site-functions fish/vendor_completions.d)
  install(DIRECTORY "${completions_dir}/${place}/" DESTINATION "${tool_completions_dir}/${place}" COMPONENT tools)
endforeach()
add_custom_target(couchstore_tools ALL DEPENDS "${tool_program}" "${completions_made}")

install(PROGRAMS "${tool_program}" DESTINATION "${CMAKE_INSTALL_BINDIR}" COMPONENT tools)
# Links stay links.
install(FILES ${tool_links} DESTINATION "${CMAKE_INSTALL_BINDIR}" COMPONENT tools)
configure_file(cmake/Couchstore-tools.cmake.in Couchstore-tools.cmake @ONLY)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/Couchstore-tools.cmake"
  DESTINATION "${couchstore_package_dir}"
  COMPONENT tools)
