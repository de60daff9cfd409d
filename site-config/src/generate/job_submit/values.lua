-- Values -----------------------------------------------------------------------------------------------------------

local function is_name(text)
   return #text <= MAX_NAME_BYTES and text:find("^[A-Za-z0-9._-]+$") ~= nil and text ~= "." and text ~= ".."
end

local function check_name(at, text)
   if not is_name(text) then refuse(at, "E-DIR-NAME", "'" .. text .. "' is not a name", NAME_REMEDY) end
end

-- Whether the number `digits` is at most `most`, both decimal strings: Lua's own numbers may lack the precision.
local function at_most(digits, most)
   local stripped = digits:gsub("^0+", "")
   return #stripped < #most or (#stripped == #most and stripped <= most)
end

local function check_capacity(at, text)
   local digits, suffix = text:match("^([0-9]*)(.*)$")
   local most = CAPACITY_UNITS[suffix:lower()]
   if digits == "" or not most then
      refuse(at, "E-DIR-VALUE", "'" .. text .. "' is not a capacity", CAPACITY_REMEDY)
   elseif not at_most(digits, most) then
      refuse(at, "E-DIR-VALUE", "capacity '" .. text .. "' is more than 8 EiB", CAPACITY_REMEDY)
   elseif not digits:find("[1-9]") then
      refuse(at, "E-DIR-VALUE", "capacity '" .. text .. "' is nothing",
         "ask for at least 1K, or leave capacity= out")
   end
end

local function check_duration(at, text)
   local digits, suffix = text:match("^([0-9]*)(.*)$")
   local most = DURATION_UNITS[suffix]
   if digits == "" or not most then
      refuse(at, "E-DIR-VALUE", "'" .. text .. "' is not a duration", DURATION_REMEDY)
   elseif not at_most(digits, most) then
      refuse(at, "E-DIR-VALUE", "duration '" .. text .. "' is more than 3650d", DURATION_REMEDY)
   end
end

local function check_template(at, text)
   local from = 1
   while true do
      from = text:find("%", from, true)
      if not from then return end
      local letter = text:match("^[\1-\127\192-\255][\128-\191]*", from + 1)
      if not letter then
         refuse(at, "E-DIR-VALUE", "a single '%' at the end", "use %A %a %j %u %x %d, or %% for a percent sign")
      elseif letter ~= "%" and not contains(SUBSTITUTIONS, letter) then
         refuse(at, "E-DIR-VALUE", "unknown substitution '%" .. letter .. "'",
            "use %A %a %j %u %x %d, or %% for a percent sign")
      end
      from = from + 1 + #letter
   end
end

local function check_length(at, text)
   if #text > MAX_TARGET_BYTES then
      refuse(at, "E-DIR-VALUE",
         string.format("more than %d bytes, or a control character, in a URI or path", MAX_TARGET_BYTES),
         "shorten it")
   end
end

local function check_components(at, path)
   local body = path:gsub("/$", "")
   for component in (body .. "/"):gmatch("([^/]*)/") do
      if component == "" or component == "." or component == ".." then
         refuse(at, "E-DIR-VALUE", "path '" .. path .. "' has the component '" .. component .. "'",
            "write a path without '//', '.' and '..'")
      end
   end
end

local function check_s3(at, rest)
   local bucket, key = rest:match("^([^/]*)/?(.*)$")
   if #bucket > 63 or not bucket:find("^[A-Za-z0-9._%%-]+$") or starts_with(bucket, ".") then
      refuse(at, "E-DIR-VALUE", "'" .. bucket .. "' is not a bucket name", URI_REMEDY)
   end
   if key ~= "" then check_components(at, key) end
end

local function check_file(at, text, rest)
   local inner = rest:gsub("^/", "")
   if not (starts_with(rest, "/") or starts_with(rest, "%d/")) or inner == "" then
      refuse(at, "E-DIR-VALUE", "'" .. text .. "' does not name an absolute path below '/'", URI_REMEDY)
   end
   check_components(at, inner)
end

local function check_uri(at, text)
   check_template(at, text)
   check_length(at, text)
   local colon = text:find("://", 1, true)
   if not colon then
      if starts_with(text, "posix:") then
         refuse(at, "E-DIR-UNSUPPORTED", "the scheme 'posix:' " .. LATER, URI_REMEDY)
      end
      refuse(at, "E-DIR-VALUE", "'" .. text .. "' is not a URI", URI_REMEDY)
   end
   local scheme, rest = text:sub(1, colon - 1), text:sub(colon + 3)
   if scheme == "s3" then
      check_s3(at, rest)
   elseif scheme == "file" then
      check_file(at, text, rest)
   else
      refuse(at, "E-DIR-UNSUPPORTED", "the scheme '" .. scheme .. "://' " .. LATER, URI_REMEDY)
   end
end

local function check_scratch_path(at, text)
   check_template(at, text)
   check_length(at, text)
   local scratch, path = text:match("^([^:]*):(.*)$")
   if not scratch then refuse(at, "E-DIR-VALUE", "'" .. text .. "' names no scratch", PATH_REMEDY) end
   check_name(at, scratch)
   if starts_with(path, "/") then refuse(at, "E-DIR-VALUE", "'" .. text .. "' is not relative", PATH_REMEDY) end
   if path ~= "" then check_components(at, path) end
end

local function check_choice(at, key, text)
   if contains(key.now, text) then return end
   local remedy = "write " .. table.concat(key.now, ", ")
   if key.any_later or contains(key.later, text) then
      refuse(at, "E-DIR-UNSUPPORTED", "'" .. key.name .. "=" .. text .. "' " .. LATER, remedy)
   end
   refuse(at, "E-DIR-VALUE", "'" .. text .. "' is no value of '" .. key.name .. "='", remedy)
end

local function check_patterns(at, key, text)
   if ("," .. text .. ","):find(",,", 1, true) then
      refuse(at, "E-DIR-VALUE", "'" .. key.name .. "=' has an empty pattern",
         "write patterns separated by single commas, as in \"*.jpg,*.png\"")
   end
end

local function check_value(at, key, text)
   if key.kind == "name" then
      check_name(at, text)
   elseif key.kind == "capacity" then
      check_capacity(at, text)
   elseif key.kind == "duration" then
      check_duration(at, text)
   elseif key.kind == "patterns" then
      check_patterns(at, key, text)
   elseif key.kind == "choice" then
      check_choice(at, key, text)
   end
end
