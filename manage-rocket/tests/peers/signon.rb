# A stand-in for GOV.UK Signon: its wire protocol with the OAuth server that it really is
# made of (Doorkeeper, from Debian's packages), for the sign-in tests. It listens on a free
# loopback port and says which. MANAGE is the application it knows. POST /test/people/<login>
# with a JSON object changes somebody, as an administrator of Signon would.
ENV["RAILS_ENV"] = "production"
require "logger"
require "json"
require "rails"
require "active_record/railtie"
require "action_controller/railtie"
require "doorkeeper"
require "webrick"
require "rack/handler/webrick"

CONTENT_ID = "91e57ad9-29a3-4f94-9ab4-5e9ae6d13588"
PERSON = { permissions: %w[signin], organisation_slug: "demo", organisation_content_id: CONTENT_ID, disabled: false }
PEOPLE = {
  "jo" => { uid: "uid-jo", name: "Jo Radiographer", email: "jo@example.gov.uk", **PERSON, permissions: %w[signin send] },
  "sam" => { uid: "uid-sam", name: "Sam Noaccess", email: "sam@example.gov.uk", **PERSON, permissions: [] },
  "kim" => { uid: "uid-kim", name: "Kim Elsewhere", email: "kim@example.gov.uk", **PERSON, organisation_slug: "elsewhere", organisation_content_id: "0c9a2a6e-4c0b-4f0e-9f4f-2f1d7c1f8b11" },
  "api" => { uid: "uid-api", name: "Signon API Client", email: "api@example.gov.uk", **PERSON, permissions: %w[user_update_permission] },
}

class Person < ActiveRecord::Base; end

class Stand < Rails::Application
  config.root = __dir__
  config.eager_load = false
  config.secret_key_base = "for tests only" * 8
  config.hosts.clear
  config.logger = Logger.new($stderr)
  config.log_level = :error
  config.session_store :cookie_store, key: "_signon"
end

# No file: the one connection is the database, and requests take turns with it.
ENV["DATABASE_URL"] = "sqlite3::memory:?pool=1"

Doorkeeper.configure do
  orm :active_record
  resource_owner_authenticator do
    Person.find_by(id: session[:person]) || redirect_to("/users/sign_in?return_to=#{CGI.escape(request.fullpath)}")
  end
  access_token_expires_in 2.hours
  use_refresh_token
  default_scopes :public
  grant_flows %w[authorization_code]
  skip_authorization { |_owner, _client| true }
  base_controller "ActionController::Base"
  force_ssl_in_redirect_uri false
end

class SessionsController < ActionController::Base
  def new
    render plain: "sign in", content_type: "text/plain"
  end

  def create
    person = Person.find_by(login: params[:login]) or return head(:unauthorized)
    session[:person] = person.id
    back = params[:return_to].to_s
    redirect_to(back.start_with?("/oauth/authorize") ? back : "/")
  end

  def destroy
    reset_session
    render plain: "signed out of signon"
  end
end

class UsersController < ActionController::Base
  before_action :doorkeeper_authorize!

  def show
    return head(:unauthorized) if params[:client_id] != doorkeeper_token.application.uid

    render json: { user: PEOPLE.fetch(Person.find(doorkeeper_token.resource_owner_id).login) }
  end
end

class TestsController < ActionController::Base
  def update
    PEOPLE.fetch(params[:login]).merge!(JSON.parse(request.raw_post, symbolize_names: true))
    head :ok
  end

  # What Signon has for its own pushes: a token of a user that may tell.
  def token
    person = Person.find_by!(login: params[:login])
    application = Doorkeeper::Application.first
    token = Doorkeeper::AccessToken.create!(application: application, resource_owner_id: person.id, expires_in: 7200, scopes: "public")
    render plain: token.token
  end
end

Stand.initialize!
ActiveRecord::Schema.verbose = false
ActiveRecord::Schema.define do
  create_table(:people) { |t| t.string :login }
  create_table(:oauth_applications) do |t|
    t.string :name
    t.string :uid
    t.string :secret
    t.text :redirect_uri
    t.string :scopes, default: ""
    t.boolean :confidential, default: true
    t.timestamps
  end
  create_table(:oauth_access_grants) do |t|
    t.integer :resource_owner_id
    t.integer :application_id
    t.string :token
    t.integer :expires_in
    t.text :redirect_uri
    t.datetime :created_at
    t.datetime :revoked_at
    t.string :scopes, default: ""
    t.string :code_challenge
    t.string :code_challenge_method
  end
  create_table(:oauth_access_tokens) do |t|
    t.integer :resource_owner_id
    t.integer :application_id
    t.string :token
    t.string :refresh_token
    t.integer :expires_in
    t.datetime :revoked_at
    t.datetime :created_at
    t.string :scopes
    t.string :previous_refresh_token, default: ""
  end
end
PEOPLE.each_key { |login| Person.create!(login: login) }
Doorkeeper::Application.create!(
  name: "manage", uid: "test-oauth-id", secret: "test-oauth-secret",
  redirect_uri: "#{ENV.fetch('MANAGE')}/auth/gds/callback",
)
Stand.routes.draw do
  get "/users/sign_in", to: "sessions#new"
  post "/users/sign_in", to: "sessions#create"
  get "/users/sign_out", to: "sessions#destroy"
  use_doorkeeper { skip_controllers :applications, :authorized_applications, :token_info }
  post "/oauth/access_token", to: "doorkeeper/tokens#create"
  get "/user", to: "users#show"
  post "/test/people/:login", to: "tests#update"
  post "/test/tokens/:login", to: "tests#token"
end

ActiveRecord::Base.clear_active_connections!

server = WEBrick::HTTPServer.new(BindAddress: "127.0.0.1", Port: 0, AccessLog: [], Logger: WEBrick::Log.new($stderr, WEBrick::Log::WARN))
server.mount "/", Rack::Handler::WEBrick, Stand
$stdout.puts "listening on http://127.0.0.1:#{server.listeners.first.addr[1]}"
$stdout.flush
# It ends when its standard input does.
Thread.new do
  $stdin.read
  server.shutdown
end
server.start
